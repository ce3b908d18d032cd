//! Tiles by the relaxed 8-bit dot, for types whose quants are 0…127 as stored.
//!
//! `i16x8.relaxed_dot_i8x16_i7x16` multiplies signed bytes (activations, |x| ≤ 127) with bytes 0…127 (quants before their
//! offset is taken off), the only range on which every engine agrees, and adds pairs into 16 bits. A (half) sub-block adds
//! 8 (4) dots in 16 bits, modulo 2^16. That is exact because the true result fits: 16 products of |q − OFFSET| ≤ 16 for a
//! whole sub-block, or 8 of |q − OFFSET| ≤ 32 for a half, stay within ±32 512; sums on the way may wrap. The offset is
//! taken off as −OFFSET · Σ x of the lane, which quantisation has left in `ActBlock::pair_sums`. One widening is left.

use super::lanes::ZERO;
use super::matmul::{PANELS, TILE_TOKENS, Tile};
use super::quantized::{Constants, Quantized, add_scaled};
use crate::block_format::SUB_ELEMENTS;
use crate::kernels::{ActBlock, Activations};
use core::arch::wasm32::*;
use core::marker::PhantomData;

pub struct RelaxedTile<Q>(PhantomData<Q>);

impl<Q: Quantized> Tile for RelaxedTile<Q> {
    /// The 8 splatted inputs of a sub-block stay in registers while the groups pass.
    #[inline(never)]
    unsafe fn gemv(groups: [*const u8; PANELS], a: &Activations, token: usize, sums: &mut [v128; PANELS]) {
        let num_blocks = a.cols / SUB_ELEMENTS / Q::LAYOUT.num_subs;
        let constants = Constants::read();
        *sums = [ZERO; PANELS];
        let mut blocks = groups;
        unsafe {
            let mut x = a.blocks.add(token * (a.cols / SUB_ELEMENTS));
            for _ in 0..num_blocks {
                for inner in 0..Q::LAYOUT.num_subs {
                    let inputs = splats(x);
                    for (&block, sum) in blocks.iter().zip(sums.iter_mut()) {
                        let sub = block.add(Q::LAYOUT.sub_offset(inner));
                        let dots = dots::<Q>(&weights::<Q>(sub, &constants), &inputs, x);
                        *sum = add_scaled::<Q>(*sum, dots, &Q::scales(block, sub, &constants), x);
                    }
                    x = x.add(1);
                }
                blocks = blocks.map(|block| block.add(Q::LAYOUT.block_bytes()));
            }
        }
    }

    /// The 8 unpacked weight vectors of a sub-block stay in registers while the tokens pass.
    #[inline(never)]
    unsafe fn gemm(
        group: *const u8,
        a: &Activations,
        first_token: usize,
        num_tokens: usize,
        sums: &mut [v128; TILE_TOKENS],
    ) {
        let num_subs = a.cols / SUB_ELEMENTS;
        let constants = Constants::read();
        sums[..num_tokens].fill(ZERO);
        let mut block = group;
        unsafe {
            let mut first = a.blocks.add(first_token * num_subs);
            for _ in 0..num_subs / Q::LAYOUT.num_subs {
                for inner in 0..Q::LAYOUT.num_subs {
                    let sub = block.add(Q::LAYOUT.sub_offset(inner));
                    let weights = weights::<Q>(sub, &constants);
                    let scales = Q::scales(block, sub, &constants);
                    let mut x = first;
                    for sum in sums[..num_tokens].iter_mut() {
                        *sum = add_scaled::<Q>(*sum, dots::<Q>(&weights, &splats(x), x), &scales, x);
                        x = x.add(num_subs);
                    }
                    first = first.add(1);
                }
                block = block.add(Q::LAYOUT.block_bytes());
            }
        }
    }
}

/// Vector i holds k 4i … 4i + 3 of the four rows.
#[inline(always)]
unsafe fn weights<Q: Quantized>(sub: *const u8, constants: &Constants) -> [v128; 8] {
    unsafe {
        let (w0, w4) = Q::vectors(sub, 0, constants);
        let (w1, w5) = Q::vectors(sub, 1, constants);
        let (w2, w6) = Q::vectors(sub, 2, constants);
        let (w3, w7) = Q::vectors(sub, 3, constants);
        [w0, w1, w2, w3, w4, w5, w6, w7]
    }
}

/// Vector i holds k 4i … 4i + 3 four times.
#[inline(always)]
unsafe fn splats(x: *const ActBlock) -> [v128; 8] {
    let at = |i: usize| unsafe { v128_load32_splat((x as *const u32).add(i)) };
    [at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)]
}

/// Σ (quant − OFFSET) · x of each row, in 32 bits: of the two halves where HALVES, else all in the first.
#[inline(always)]
unsafe fn dots<Q: Quantized>(w: &[v128; 8], inputs: &[v128; 8], x: *const ActBlock) -> [v128; 2] {
    let dot = |i: usize| i16x8_relaxed_dot_i8x16_i7x16(inputs[i], w[i]);
    let four = |i: usize| i16x8_add(i16x8_add(dot(i), dot(i + 1)), i16x8_add(dot(i + 2), dot(i + 3)));
    let wide = |sum: v128, part: usize| {
        if Q::OFFSET == 0 {
            return i32x4_extadd_pairwise_i16x8(sum);
        }
        let pairs = unsafe { v128_load32_splat((&raw const (*x).pair_sums[part]) as *const u32) };
        i32x4_extadd_pairwise_i16x8(i16x8_sub(sum, i16x8_shl(pairs, Q::OFFSET.trailing_zeros())))
    };
    if Q::HALVES { [wide(four(0), 0), wide(four(4), 1)] } else { [wide(i16x8_add(four(0), four(4)), 2), ZERO] }
}
