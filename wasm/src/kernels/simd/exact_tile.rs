//! Tiles by `i32x4.dot_i16x8_s` on bytes extended to 16 bits: right for any signed byte, on any engine.
//!
//! A vector of 4 rows × 4 k becomes two of 2 rows × 4 k, which meet 4 activations twice. Sums are (row, pair) lanes in two
//! vectors, rows 0 0 1 1 and 2 2 3 3, brought together once for each sub-block.

use super::lanes::ZERO;
use super::matmul::{PANELS, TILE_TOKENS, Tile};
use super::quantized::{Constants, Quantized, add_scaled};
use crate::block_format::SUB_ELEMENTS;
use crate::kernels::Activations;
use core::arch::wasm32::*;
use core::marker::PhantomData;

pub struct ExactTile<Q>(PhantomData<Q>);

impl<Q: Quantized> Tile for ExactTile<Q> {
    #[inline(never)]
    unsafe fn gemv(groups: [*const u8; PANELS], a: &Activations, token: usize, sums: &mut [v128; PANELS]) {
        let num_subs = a.cols / SUB_ELEMENTS;
        let constants = Constants::read();
        *sums = [ZERO; PANELS];
        let mut blocks = groups;
        unsafe {
            let mut x = a.blocks.add(token * num_subs);
            let mut quants = a.quants16.add(token * a.cols);
            for _ in 0..num_subs / Q::LAYOUT.num_subs {
                for inner in 0..Q::LAYOUT.num_subs {
                    let (low, high) = (inputs(quants), inputs(quants.add(16)));
                    for (&block, sum) in blocks.iter().zip(sums.iter_mut()) {
                        let sub = block.add(Q::LAYOUT.sub_offset(inner));
                        let first = dot(&Q::wide_half(sub, 0, &constants), &low);
                        let second = dot(&Q::wide_half(sub, 1, &constants), &high);
                        let dots =
                            if Q::HALVES { [rows(first), rows(second)] } else { [rows(add(first, second)), ZERO] };
                        *sum = add_scaled::<Q>(*sum, dots, &Q::scales(block, sub, &constants), x);
                    }
                    x = x.add(1);
                    quants = quants.add(SUB_ELEMENTS);
                }
                blocks = blocks.map(|block| block.add(Q::LAYOUT.block_bytes()));
            }
        }
    }

    /// Half a sub-block of weights, 8 vectors, stays in registers while the tokens pass.
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
        let mut first_halves = [ZERO; TILE_TOKENS];
        let mut block = group;
        unsafe {
            let mut first_x = a.blocks.add(first_token * num_subs);
            let mut first_quants = a.quants16.add(first_token * a.cols);
            for _ in 0..num_subs / Q::LAYOUT.num_subs {
                for inner in 0..Q::LAYOUT.num_subs {
                    let sub = block.add(Q::LAYOUT.sub_offset(inner));
                    let weights = Q::wide_half(sub, 0, &constants);
                    let mut quants = first_quants;
                    for half in first_halves[..num_tokens].iter_mut() {
                        *half = rows(dot(&weights, &inputs(quants)));
                        quants = quants.add(a.cols);
                    }
                    let weights = Q::wide_half(sub, 1, &constants);
                    let scales = Q::scales(block, sub, &constants);
                    let (mut x, mut quants) = (first_x, first_quants.add(16));
                    for (sum, &half) in sums[..num_tokens].iter_mut().zip(&first_halves) {
                        let second = rows(dot(&weights, &inputs(quants)));
                        let dots = if Q::HALVES { [half, second] } else { [i32x4_add(half, second), ZERO] };
                        *sum = add_scaled::<Q>(*sum, dots, &scales, x);
                        x = x.add(num_subs);
                        quants = quants.add(a.cols);
                    }
                    first_x = first_x.add(1);
                    first_quants = first_quants.add(SUB_ELEMENTS);
                }
                block = block.add(Q::LAYOUT.block_bytes());
            }
        }
    }
}

/// 16 activations: vector i holds k 4i … 4i + 3 twice.
#[inline(always)]
unsafe fn inputs(quants: *const i16) -> [v128; 4] {
    let at = |i: usize| unsafe { v128_load64_splat((quants as *const u64).add(i)) };
    [at(0), at(1), at(2), at(3)]
}

#[inline(always)]
fn dot(w: &[(v128, v128); 4], x: &[v128; 4]) -> (v128, v128) {
    let low = |i: usize| i32x4_dot_i16x8(w[i].0, x[i]);
    let high = |i: usize| i32x4_dot_i16x8(w[i].1, x[i]);
    (
        i32x4_add(i32x4_add(low(0), low(1)), i32x4_add(low(2), low(3))),
        i32x4_add(i32x4_add(high(0), high(1)), i32x4_add(high(2), high(3))),
    )
}

#[inline(always)]
fn add(a: (v128, v128), b: (v128, v128)) -> (v128, v128) {
    (i32x4_add(a.0, b.0), i32x4_add(a.1, b.1))
}

/// (row, pair) lanes to one lane for each row.
#[inline(always)]
fn rows((low, high): (v128, v128)) -> v128 {
    i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(low, high), i32x4_shuffle::<1, 3, 5, 7>(low, high))
}
