//! The relaxed 8-bit dot for types whose quants are 0…127 as stored, and products of one token by it; `relaxed_gemm.rs` has
//! those of several.
//!
//! `i16x8.relaxed_dot_i8x16_i7x16` multiplies signed bytes (activations, |x| ≤ 127) with bytes 0…127 (quants before their
//! offset is taken off), the only range on which every engine agrees, and adds pairs into 16 bits. A (half) sub-block adds
//! 8 (4) dots in 16 bits, modulo 2^16. That is exact because the true result fits: 16 products of |q − offset| ≤ 16 for a
//! whole sub-block, or 8 of |q − offset| ≤ 32 for a half, stay within ±32 512; sums on the way may wrap. The offset is
//! taken off as −offset · Σ x of the lane, which quantisation has left in `ActBlock::pair_sums`. The widening to 32 bits
//! multiplies with the integer scale in the same instruction: two lanes of 32 512 times 2^15 still fit.
//!
//! With the feature `dot32` the dots add into 32 bits (`i32x4.relaxed_dot_i8x16_i7x16_add`): one instruction for three where
//! the processor has it (AVX-VNNI, Arm's dot product), but one for five elsewhere, so it is a kernel set of its own.

use super::lanes::ZERO;
use super::matmul::PANELS;
use super::quantized::{Constants, Quantized, SpanSum, splat};
use super::relaxed_gemm::{MANY_TOKENS, TILE_TOKENS, walk_many};
use super::scales::Scales;
use crate::block_format::{GROUP_ROWS, SUB_ELEMENTS};
use crate::kernels::{ActBlock, Activations};
use crate::matrix::Matrix;
use core::arch::wasm32::*;
use core::ops::Range;

/// # Safety
/// As `matmul`.
pub unsafe fn walk<Q: Quantized>(m: &Matrix, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    let many = num_tokens / MANY_TOKENS * MANY_TOKENS;
    for first in (0..many).step_by(TILE_TOKENS) {
        unsafe { walk_many::<Q>(m, a, first..many.min(first + TILE_TOKENS), out, stride) };
    }
    if many < num_tokens {
        unsafe { walk_few::<Q>(m, a, many..num_tokens, out, stride) };
    }
}

/// Token by token; groups that the first one has read are in the nearest cache for the others.
unsafe fn walk_few<Q: Quantized>(m: &Matrix, a: &Activations, tokens: Range<usize>, out: *mut f32, stride: usize) {
    let panel_groups = m.rows.div_ceil(GROUP_ROWS) / PANELS;
    for index in 0..panel_groups {
        let groups = core::array::from_fn(|panel| index + panel * panel_groups);
        unsafe { multiply_groups::<Q>(m, a, tokens.clone(), groups, out, stride) };
    }
    unsafe { walk_rest::<Q>(m, a, tokens, out, stride) };
}

/// The groups behind the last whole panels, three at most; the last one takes the places that are free.
///
/// # Safety
/// As `matmul`.
#[inline(never)]
pub unsafe fn walk_rest<Q: Quantized>(m: &Matrix, a: &Activations, tokens: Range<usize>, out: *mut f32, stride: usize) {
    let num_groups = m.rows.div_ceil(GROUP_ROWS);
    let first = num_groups / PANELS * PANELS;
    if first < num_groups {
        let groups = core::array::from_fn(|i| (first + i).min(num_groups - 1));
        unsafe { multiply_groups::<Q>(m, a, tokens, groups, out, stride) };
    }
}

unsafe fn multiply_groups<Q: Quantized>(
    m: &Matrix,
    a: &Activations,
    tokens: Range<usize>,
    groups: [usize; PANELS],
    out: *mut f32,
    stride: usize,
) {
    for token in tokens {
        unsafe {
            let data = groups.map(|group| m.data.add(group * m.group_bytes()));
            gemv::<Q>(data, a, token, groups.map(|group| out.add(token * stride + group * GROUP_ROWS)));
        }
    }
}

/// One token: the 8 splatted inputs of a sub-block stay in registers while the groups pass.
#[inline(never)]
unsafe fn gemv<Q: Quantized>(groups: [*const u8; PANELS], a: &Activations, token: usize, out: [*mut f32; PANELS]) {
    let num_subs = a.cols / SUB_ELEMENTS;
    let span_subs = Q::LAYOUT.num_subs(a.cols);
    let constants = Constants::read();
    let mut totals = [ZERO; PANELS];
    unsafe {
        let mut x = a.blocks.add(token * num_subs);
        let mut span_offset = 0;
        for _ in 0..num_subs / span_subs {
            let mut sums = [SpanSum::ZERO; PANELS];
            let mut offset = span_offset + Q::LAYOUT.header_bytes;
            for _ in 0..span_subs {
                let inputs = splats(x);
                let mut add =
                    |r: usize| add_sub_block::<Q>(&mut sums[r], groups[r].add(offset), &constants, &inputs, x);
                // Written out, or the compiler would keep the loop of types whose code is long, and the sums in memory.
                const { assert!(PANELS == 4) };
                add(0);
                add(1);
                add(2);
                add(3);
                offset += Q::LAYOUT.sub_bytes();
                x = x.add(1);
            }
            for r in 0..PANELS {
                totals[r] = sums[r].finish::<Q>(totals[r], Q::factors(groups[r].add(span_offset)));
            }
            span_offset = offset;
        }
        for r in 0..PANELS {
            v128_store(out[r] as *mut v128, totals[r]);
        }
    }
}

/// Adds a sub-block of a group times one token.
#[inline(always)]
unsafe fn add_sub_block<Q: Quantized>(
    sum: &mut SpanSum,
    sub: *const u8,
    constants: &Constants,
    inputs: &[v128; 8],
    x: *const ActBlock,
) {
    unsafe {
        let weights = Q::vectors(sub, constants);
        let four = |first: usize| (first..first + 4).fold(ZERO, |sum, i| add_dot(sum, inputs[i], weights[i]));
        let dots = if Q::HALVES { [four(0), four(4)] } else { [add_sums(four(0), four(4)), ZERO] };
        let centers = [0, 1].map(|part| if Q::CENTER == 0 { ZERO } else { centers::<Q>(x, part) });
        let scales = SubScales::read::<Q>(sub);
        add_dots::<Q>(sum, dots, centers, &scales, splat(&raw const (*x).scale));
        sum.add_mins::<Q>(&scales.floats.min, x);
    }
}

/// Vector i holds k 4i … 4i + 3 four times.
#[inline(always)]
pub unsafe fn splats(x: *const ActBlock) -> [v128; 8] {
    core::array::from_fn(|i| unsafe { v128_load32_splat((x as *const u32).add(i)) })
}

/// Scales of a sub-block in the form its dots want them.
pub struct SubScales {
    pub floats: Scales,
    #[cfg(not(feature = "dot32"))]
    pairs: [v128; 2],
}

impl SubScales {
    #[inline(always)]
    pub unsafe fn read<Q: Quantized>(sub: *const u8) -> SubScales {
        unsafe {
            SubScales {
                floats: Q::scales(sub),
                #[cfg(not(feature = "dot32"))]
                pairs: Q::pair_scales(sub),
            }
        }
    }
}

/// Adds the dots of a sub-block without their centers: of each half, or of all of it in the first.
#[inline(always)]
pub unsafe fn add_dots<Q: Quantized>(
    sum: &mut SpanSum,
    dots: [v128; 2],
    centers: [v128; 2],
    scales: &SubScales,
    act_scale: v128,
) {
    unsafe {
        #[cfg(not(feature = "dot32"))]
        if Q::HALVES {
            let [first, second] = [0, 1].map(|half| scaled::<Q>(dots[half], centers[half], scales.pairs[half]));
            sum.add_dots(i32x4_add(first, second), act_scale);
        } else {
            sum.add_dots(scaled::<Q>(dots[0], centers[0], scales.pairs[0]), act_scale);
        }
        #[cfg(feature = "dot32")]
        for half in 0..if Q::HALVES { 2 } else { 1 } {
            let dots = if Q::CENTER == 0 { dots[half] } else { i32x4_sub(dots[half], centers[half]) };
            sum.add_dots(dots, f32x4_mul(scales.floats.scale[half], act_scale));
        }
    }
}

/// sum + quants · x, in the lanes of the dot: 16 bits (row, pair), or 32 bits with `dot32`.
#[inline(always)]
pub fn add_dot(sum: v128, x: v128, quants: v128) -> v128 {
    #[cfg(feature = "dot32")]
    return i32x4_relaxed_dot_i8x16_i7x16_add(x, quants, sum);
    #[cfg(not(feature = "dot32"))]
    return i16x8_add(sum, i16x8_relaxed_dot_i8x16_i7x16(x, quants));
}

#[inline(always)]
fn add_sums(a: v128, b: v128) -> v128 {
    if cfg!(feature = "dot32") { i32x4_add(a, b) } else { i16x8_add(a, b) }
}

/// What the lanes of a dot have too much: CENTER · Σ x of those that a lane met, in half `part` or in all of a sub-block.
#[inline(always)]
pub unsafe fn centers<Q: Quantized>(x: *const ActBlock, part: usize) -> v128 {
    let part = if Q::HALVES { part } else { 2 };
    let pairs = unsafe { v128_load32_splat((&raw const (*x).pair_sums[part]) as *const u32) };
    #[cfg(feature = "dot32")]
    return i32x4_shl(i32x4_extadd_pairwise_i16x8(pairs), Q::CENTER.trailing_zeros());
    #[cfg(not(feature = "dot32"))]
    return i16x8_shl(pairs, Q::CENTER.trailing_zeros());
}

/// A sum in 16 bits without its center times the scales, in 32 bits.
#[cfg(not(feature = "dot32"))]
#[inline(always)]
fn scaled<Q: Quantized>(sum: v128, centers: v128, pairs: v128) -> v128 {
    if Q::CENTER == 0 {
        return i32x4_dot_i16x8(sum, pairs);
    }
    let dots = i32x4_dot_i16x8(i16x8_sub(sum, centers), pairs);
    if Q::CENTER == Q::OFFSET { dots } else { i32x4_add(dots, i32x4_dot_i16x8(centers, pairs)) }
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
