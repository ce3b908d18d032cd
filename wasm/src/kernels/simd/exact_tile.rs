//! Tiles by `i32x4.dot_i16x8_s` on bytes extended to 16 bits: right for any signed byte, on any engine.
//!
//! Even and odd bytes of a weight vector become two vectors of 4 rows × 2 k, so that 32-bit lanes are rows; the activations
//! are stored in the same order.

use super::lanes::ZERO;
use super::quantized::{Constants, Quantized, SpanSum, splat};
use super::register_tile::RegisterTile;
use crate::block_format::SUB_ELEMENTS;
use crate::kernels::Activations;
use core::arch::wasm32::*;
use core::marker::PhantomData;

pub struct ExactTile<Q>(PhantomData<Q>);

impl<Q: Quantized> RegisterTile for ExactTile<Q> {
    const IS_LONG: bool = !Q::IS_REGULAR;

    #[inline(always)]
    unsafe fn tile<const R: usize, const T: usize>(
        groups: [*const u8; R],
        a: &Activations,
        first_token: usize,
    ) -> [[v128; T]; R] {
        let num_subs = a.cols / SUB_ELEMENTS;
        let span_subs = Q::LAYOUT.num_subs(a.cols);
        let constants = Constants::read();
        let mut totals = [[ZERO; T]; R];
        let mut spans = groups;
        for first_sub in (0..num_subs).step_by(span_subs) {
            let mut sums = [[SpanSum::ZERO; T]; R];
            let mut subs = spans.map(|span| unsafe { span.add(Q::LAYOUT.header_bytes) });
            for sub in first_sub..first_sub + span_subs {
                unsafe {
                    let quants = a.quants16.add(first_token * a.cols + sub * SUB_ELEMENTS);
                    let dots = dots::<Q, R, T>(subs, quants, a.cols, &constants);
                    for r in 0..R {
                        let scales = Q::scales(subs[r]);
                        for t in 0..T {
                            let x = a.blocks.add((first_token + t) * num_subs + sub);
                            let act_scale = splat(&raw const (*x).scale);
                            for half in 0..if Q::HALVES { 2 } else { 1 } {
                                let scale = f32x4_mul(scales.scale[half], act_scale);
                                sums[r][t].add_dots(dots[r][t][half], scale);
                            }
                            sums[r][t].add_mins::<Q>(&scales.min, x);
                        }
                    }
                }
                subs = subs.map(|sub| unsafe { sub.add(Q::LAYOUT.sub_bytes()) });
            }
            for r in 0..R {
                let factors = unsafe { Q::factors(spans[r]) };
                for t in 0..T {
                    totals[r][t] = sums[r][t].finish::<Q>(totals[r][t], factors);
                }
            }
            spans = subs;
        }
        totals
    }
}

/// Integer dots of one sub-block, for each group and token [low half, high half]; without HALVES all of it is in the first.
#[inline(always)]
unsafe fn dots<Q: Quantized, const R: usize, const T: usize>(
    subs: [*const u8; R],
    quants: *const i16,
    cols: usize,
    constants: &Constants,
) -> [[[v128; 2]; T]; R] {
    let high = if Q::HALVES { 1 } else { 0 };
    let mut sums = [[[ZERO; 2]; T]; R];
    let mut step = |j: usize| {
        let weights = subs.map(|sub| {
            let (low, high) = unsafe { Q::vector_pair(sub, j, constants) };
            (even_odd::<Q>(low), even_odd::<Q>(high))
        });
        for t in 0..T {
            let x = unsafe { quants.add(t * cols + 4 * j) };
            let (low, high_half) = unsafe { (input(x), input(x.add(16))) };
            for r in 0..R {
                let sum = &mut sums[r][t];
                sum[0] = add_dots(sum[0], weights[r].0, low);
                sum[high] = add_dots(sum[high], weights[r].1, high_half);
            }
        }
    };
    if Q::IS_REGULAR {
        (0..4).for_each(step);
    } else {
        // Written out, so that each step unpacks only its own vectors.
        step(0);
        step(1);
        step(2);
        step(3);
    }
    sums
}

/// Signed weights without their offset, as 16-bit lanes.
#[inline(always)]
fn even_odd<Q: Quantized>(bytes: v128) -> (v128, v128) {
    let bytes = if Q::OFFSET == 0 { bytes } else { i8x16_sub(bytes, i8x16_splat(Q::OFFSET as i8)) };
    (i16x8_shr(i16x8_shl(bytes, 8), 8), i16x8_shr(bytes, 8))
}

#[inline(always)]
unsafe fn input(x: *const i16) -> (v128, v128) {
    let pairs = x as *const u32;
    unsafe { (v128_load32_splat(pairs), v128_load32_splat(pairs.add(1))) }
}

#[inline(always)]
fn add_dots(sum: v128, weights: (v128, v128), input: (v128, v128)) -> v128 {
    let even = i32x4_dot_i16x8(weights.0, input.0);
    i32x4_add(i32x4_add(sum, even), i32x4_dot_i16x8(weights.1, input.1))
}
