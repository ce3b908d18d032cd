//! Tiles by the relaxed 8-bit dot, for types whose quants are 0…127 as stored.
//!
//! `i16x8.relaxed_dot_i8x16_i7x16` multiplies signed bytes (activations, |x| ≤ 127) with bytes 0…127 (quants before their
//! offset is taken off), the only range on which every engine agrees, and adds pairs into 16 bits. A (half) sub-block adds
//! 8 (4) dots in 16 bits, modulo 2^16. That is exact because the true result fits: 16 products of |q − OFFSET| ≤ 16 for a
//! whole sub-block, or 8 of |q − OFFSET| ≤ 32 for a half, stay within ±32 512; sums on the way may wrap. The offset is
//! taken off as −OFFSET · Σ x of the lane, which quantisation has left in `ActBlock::pair_sums`. One widening is left.
//!
//! With the feature `dot32` the dots add into 32 bits (`i32x4.relaxed_dot_i8x16_i7x16_add`): one instruction for three where
//! the processor has it (AVX-VNNI, Arm's dot product), but one for five elsewhere, so it is a kernel set of its own.

use super::lanes::ZERO;
use super::matmul::PANELS;
use super::quantized::{Constants, Quantized, add_scaled};
use crate::block_format::{GROUP_ROWS, SUB_ELEMENTS};
use crate::kernels::{ActBlock, Activations};
use crate::matrix::Matrix;
use core::arch::wasm32::*;

/// Most tokens that share the unpacking of a sub-block: their activations stay in the first-level cache.
const TILE_TOKENS: usize = 16;
/// Sums of a tile: 4 rows of each group and token.
type Sums = [[v128; TILE_TOKENS]; PANELS];

/// # Safety
/// As `matmul`.
pub unsafe fn walk<Q: Quantized>(m: &Matrix, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    let num_groups = m.rows.div_ceil(GROUP_ROWS);
    let panel_groups = num_groups / PANELS;
    let group_bytes = m.group_bytes();
    let at = |group: usize| unsafe { m.data.add(group * group_bytes) };
    let mut sums = [[ZERO; TILE_TOKENS]; PANELS];
    for first in (0..num_tokens).step_by(TILE_TOKENS) {
        let count = TILE_TOKENS.min(num_tokens - first);
        let store = |group: usize, sums: &[v128; TILE_TOKENS]| {
            for (t, &sum) in sums[..count].iter().enumerate() {
                unsafe { v128_store(out.add((first + t) * stride + group * GROUP_ROWS) as *mut v128, sum) };
            }
        };
        unsafe {
            for index in 0..panel_groups {
                let groups: [usize; PANELS] = core::array::from_fn(|panel| index + panel * panel_groups);
                if count == 1 {
                    if Q::BY_HALVES {
                        gemv_by_halves::<Q>(groups.map(at), a, first, &mut sums);
                    } else {
                        gemv::<Q>(&groups.map(at), a, first, &mut sums);
                    }
                } else {
                    gemm::<Q>(&groups.map(at), a, first, count, &mut sums);
                }
                for (&group, sums) in groups.iter().zip(&sums) {
                    store(group, sums);
                }
            }
            for group in panel_groups * PANELS..num_groups {
                gemm::<Q>(&[at(group)], a, first, count, &mut sums);
                store(group, &sums[0]);
            }
        }
    }
}

/// One token: the 8 splatted inputs of a sub-block stay in registers while the groups pass.
#[inline(never)]
unsafe fn gemv<Q: Quantized>(groups: &[*const u8], a: &Activations, token: usize, sums: &mut Sums) {
    let num_subs = a.cols / SUB_ELEMENTS;
    let constants = Constants::read();
    for sums in sums[..groups.len()].iter_mut() {
        sums[0] = ZERO;
    }
    unsafe {
        let mut x = a.blocks.add(token * num_subs);
        for block_index in 0..num_subs / Q::LAYOUT.num_subs {
            let block_offset = block_index * Q::LAYOUT.block_bytes();
            for inner in 0..Q::LAYOUT.num_subs {
                let inputs = splats(x);
                for (&group, sums) in groups.iter().zip(sums.iter_mut()) {
                    let block = group.add(block_offset);
                    let sub = block.add(Q::LAYOUT.sub_offset(inner));
                    let dots = dots::<Q>(&weights::<Q>(sub, &constants), &inputs, x);
                    sums[0] = add_scaled::<Q>(sums[0], dots, &Q::scales(block, sub, &constants), x);
                }
                x = x.add(1);
            }
        }
    }
}

/// As `gemv`, half a sub-block at a time for all groups, so that 4 inputs, 4 sums and what is unpacked fit the registers.
/// Measured on Zen 4: Q4_K 1.15 × and Q5_K 1.12 × as fast; Q4_0 is as fast from RAM, and Q5_0 slower (0.91 ×).
#[inline(never)]
unsafe fn gemv_by_halves<Q: Quantized>(groups: [*const u8; PANELS], a: &Activations, token: usize, sums: &mut Sums) {
    let num_subs = a.cols / SUB_ELEMENTS;
    let constants = Constants::read();
    let mut totals = [ZERO; PANELS];
    // Unknown to the compiler, which would unroll the halves and mix them again.
    let num_halves = core::hint::black_box(2);
    let mut blocks = groups;
    unsafe {
        let mut x = a.blocks.add(token * num_subs);
        for _ in 0..num_subs / Q::LAYOUT.num_subs {
            for inner in 0..Q::LAYOUT.num_subs {
                let subs = blocks.map(|block| block.add(Q::LAYOUT.sub_offset(inner)));
                let mut dots = [ZERO; PANELS];
                for half in 0..num_halves {
                    let quants = (x as *const u32).add(2 * half);
                    let inputs = [0, 4, 1, 5].map(|i| v128_load32_splat(quants.add(i)));
                    for (sum, sub) in dots.iter_mut().zip(subs) {
                        for (w, x) in Q::half_vectors(sub, half, &constants).into_iter().zip(inputs) {
                            *sum = add_dot(*sum, x, w);
                        }
                    }
                }
                for r in 0..PANELS {
                    let scales = Q::scales(blocks[r], subs[r], &constants);
                    totals[r] = add_scaled::<Q>(totals[r], [finished::<Q>(dots[r], x, 2), ZERO], &scales, x);
                }
                x = x.add(1);
            }
            blocks = blocks.map(|block| block.add(Q::LAYOUT.block_bytes()));
        }
    }
    for (sums, total) in sums.iter_mut().zip(totals) {
        sums[0] = total;
    }
}

/// Several tokens: the 8 unpacked weight vectors of a sub-block stay in registers while the tokens pass.
#[inline(never)]
unsafe fn gemm<Q: Quantized>(groups: &[*const u8], a: &Activations, first: usize, num_tokens: usize, sums: &mut Sums) {
    let num_subs = a.cols / SUB_ELEMENTS;
    let constants = Constants::read();
    for sums in sums[..groups.len()].iter_mut() {
        sums[..num_tokens].fill(ZERO);
    }
    unsafe {
        let mut first_x = a.blocks.add(first * num_subs);
        for block_index in 0..num_subs / Q::LAYOUT.num_subs {
            for inner in 0..Q::LAYOUT.num_subs {
                for (&group, sums) in groups.iter().zip(sums.iter_mut()) {
                    let block = group.add(block_index * Q::LAYOUT.block_bytes());
                    let sub = block.add(Q::LAYOUT.sub_offset(inner));
                    let weights = weights::<Q>(sub, &constants);
                    let scales = Q::scales(block, sub, &constants);
                    let mut x = first_x;
                    for sum in sums[..num_tokens].iter_mut() {
                        *sum = add_scaled::<Q>(*sum, dots::<Q>(&weights, &splats(x), x), &scales, x);
                        x = x.add(num_subs);
                    }
                }
                first_x = first_x.add(1);
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
    let four = |first: usize| (first..first + 4).fold(ZERO, |sum, i| add_dot(sum, inputs[i], w[i]));
    unsafe {
        if Q::HALVES {
            return [finished::<Q>(four(0), x, 0), finished::<Q>(four(4), x, 1)];
        }
        [finished::<Q>(add_sums(four(0), four(4)), x, 2), ZERO]
    }
}

/// sum + quants · x, in the lanes of the dot: 16 bits (row, pair), or 32 bits with `dot32`.
#[inline(always)]
fn add_dot(sum: v128, x: v128, quants: v128) -> v128 {
    #[cfg(feature = "dot32")]
    return i32x4_relaxed_dot_i8x16_i7x16_add(x, quants, sum);
    #[cfg(not(feature = "dot32"))]
    return i16x8_add(sum, i16x8_relaxed_dot_i8x16_i7x16(x, quants));
}

#[inline(always)]
fn add_sums(a: v128, b: v128) -> v128 {
    if cfg!(feature = "dot32") { i32x4_add(a, b) } else { i16x8_add(a, b) }
}

/// A sum without its offset, in 32 bits; `part` of `pair_sums` is what it was taken over.
#[inline(always)]
unsafe fn finished<Q: Quantized>(sum: v128, x: *const ActBlock, part: usize) -> v128 {
    let wide = i32x4_extadd_pairwise_i16x8;
    if Q::OFFSET == 0 {
        return if cfg!(feature = "dot32") { sum } else { wide(sum) };
    }
    let pairs = unsafe { v128_load32_splat((&raw const (*x).pair_sums[part]) as *const u32) };
    let shift = Q::OFFSET.trailing_zeros();
    if cfg!(feature = "dot32") {
        i32x4_sub(sum, i32x4_shl(wide(pairs), shift))
    } else {
        wide(i16x8_sub(sum, i16x8_shl(pairs, shift)))
    }
}

/// How this engine multiplies 4 pairs of bytes 127 and 255 by the 32-bit dot, which tells its instructions apart; see
/// `hasSingleDot32` in `src/backends/cpu/kernel-set.ts`.
#[cfg(feature = "dot32")]
pub fn probe_dot32() -> i32 {
    // Through a variable, or the compiler would fold it by its own rules.
    let weights = u8x16_splat(unsafe { (&raw const PROBE_WEIGHT).read_volatile() });
    i32x4_extract_lane::<0>(i32x4_relaxed_dot_i8x16_i7x16_add(i8x16_splat(127), weights, ZERO))
}
#[cfg(feature = "dot32")]
static PROBE_WEIGHT: u8 = 255;
