//! One token of Q8_0 by the relaxed 8-bit dot. Its weights are signed bytes, so they take the signed side of the dot and the
//! activations the side that is 0…127: x + 128 = 16 · high + low, two planes of 4 bits. 16 products of at most 15 · 128 fit
//! a 16-bit sum. What the 128 adds is taken off by the sum of the weights, which packing has left beside the scale.
//!
//! Exact, so it gives the bits of `ExactTile`, which takes the products of several tokens: there the widening of weights,
//! which this saves, is shared.

use super::lanes::ZERO;
use super::matmul::PANELS;
use super::quantized::{Q8_0, Quantized, SpanSum, splat};
use super::relaxed_tile::add_dot;
use crate::block_format::{GROUP_ROWS, SUB_ELEMENTS};
use crate::kernels::{ActBlock, Activations};
use crate::matrix::Matrix;
use core::arch::wasm32::*;

/// Bytes of a sub-block's high plane; the low one follows.
const PLANE_BYTES: usize = SUB_ELEMENTS;

/// # Safety
/// As `matmul`, for one token.
pub unsafe fn walk(m: &Matrix, a: &Activations, out: *mut f32) {
    let num_groups = m.rows.div_ceil(GROUP_ROWS);
    let panel_groups = num_groups / PANELS;
    let group_bytes = m.group_bytes();
    let at = |group: usize| unsafe { m.data.add(group * group_bytes) };
    unsafe {
        split(a);
        for index in 0..panel_groups {
            let groups: [usize; PANELS] = core::array::from_fn(|panel| index + panel * panel_groups);
            let sums = gemv(groups.map(at), a);
            for (group, sum) in groups.into_iter().zip(sums) {
                v128_store(out.add(group * GROUP_ROWS) as *mut v128, sum);
            }
        }
        for group in panel_groups * PANELS..num_groups {
            let [sum] = gemv([at(group)], a);
            v128_store(out.add(group * GROUP_ROWS) as *mut v128, sum);
        }
    }
}

/// Writes the planes of the first row of activations.
unsafe fn split(a: &Activations) {
    let (low_bits, offset) = (u8x16_splat(15), u8x16_splat(8));
    for sub in 0..a.cols / SUB_ELEMENTS {
        unsafe {
            let block = &*a.blocks.add(sub);
            let planes = a.planes.add(sub * 2 * PLANE_BYTES) as *mut v128;
            for half in 0..2 {
                let quants = v128_load((block.quants.as_ptr() as *const v128).add(half));
                let high = v128_xor(v128_and(u16x8_shr(quants, 4), low_bits), offset);
                v128_store(planes.add(half), high);
                v128_store(planes.add(2 + half), v128_and(quants, low_bits));
            }
        }
    }
}

/// Two sums of each group, two inputs and a weight fill the registers.
#[inline(never)]
unsafe fn gemv<const P: usize>(groups: [*const u8; P], a: &Activations) -> [v128; P] {
    let mut sums = [SpanSum::ZERO; P];
    // Unknown to the compiler, which would unroll the loop, take one group after the other and spill their inputs.
    let num_vectors = core::hint::black_box(8);
    let mut offset = Q8_0::LAYOUT.header_bytes;
    unsafe {
        for index in 0..a.cols / SUB_ELEMENTS {
            let planes = a.planes.add(index * 2 * PLANE_BYTES);
            let subs = groups.map(|group| group.add(offset));
            let (mut highs, mut lows) = ([ZERO; P], [ZERO; P]);
            for i in 0..num_vectors {
                let high = v128_load32_splat(planes.add(4 * i) as *const u32);
                let low = v128_load32_splat(planes.add(PLANE_BYTES + 4 * i) as *const u32);
                for r in 0..P {
                    let weights = v128_load(subs[r].add(16 * i) as *const v128);
                    highs[r] = add_dot(highs[r], weights, high);
                    lows[r] = add_dot(lows[r], weights, low);
                }
            }
            let scale = splat(&raw const (*(a.blocks.add(index) as *const ActBlock)).scale);
            for r in 0..P {
                // Of each row the sum of its weights and, in the upper half, its scale.
                let tail = v128_load(subs[r].add(Q8_0::LAYOUT.quant_bytes) as *const v128);
                let offset = i32x4_shr(i32x4_shl(tail, 16), 16 - 7);
                let high = i32x4_shl(widened(highs[r]), 4);
                let dots = i32x4_sub(i32x4_add(high, widened(lows[r])), offset);
                sums[r].add_dots(dots, f32x4_mul(f32x4_convert_i32x4(i32x4_shr(tail, 16)), scale));
            }
            offset += Q8_0::LAYOUT.sub_bytes();
        }
        core::array::from_fn(|r| sums[r].finish::<Q8_0>(ZERO, Q8_0::factors(groups[r])))
    }
}

/// The sums of a row in 32 bits.
#[inline(always)]
fn widened(sum: v128) -> v128 {
    if cfg!(feature = "dot32") { sum } else { i32x4_extadd_pairwise_i16x8(sum) }
}
