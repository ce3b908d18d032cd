//! Tiles by the relaxed 8-bit dot, for types whose quants are 0…127 as stored.
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
use super::scales::Scales;
use crate::block_format::{GROUP_ROWS, SUB_ELEMENTS};
use crate::kernels::{ActBlock, Activations};
use crate::matrix::Matrix;
use core::arch::wasm32::*;

/// Most tokens that share the unpacking of a sub-block: their activations stay in the nearest caches.
const TILE_TOKENS: usize = 32;

/// # Safety
/// As `matmul`.
pub unsafe fn walk<Q: Quantized>(m: &Matrix, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    let num_groups = m.rows.div_ceil(GROUP_ROWS);
    let panel_groups = num_groups / PANELS;
    let group_bytes = m.group_bytes();
    let at = |group: usize| unsafe { m.data.add(group * group_bytes) };
    for first in (0..num_tokens).step_by(TILE_TOKENS) {
        let count = TILE_TOKENS.min(num_tokens - first);
        let to = |group: usize| unsafe { out.add(first * stride + group * GROUP_ROWS) };
        unsafe {
            for index in 0..panel_groups {
                let groups: [usize; PANELS] = core::array::from_fn(|panel| index + panel * panel_groups);
                if count == 1 {
                    gemv::<Q>(groups.map(at), a, first, groups.map(to));
                } else {
                    let [g0, g1, g2, g3] = groups;
                    gemm::<Q, 2>([g0, g1].map(at), a, first, count, [g0, g1].map(to), stride);
                    gemm::<Q, 2>([g2, g3].map(at), a, first, count, [g2, g3].map(to), stride);
                }
            }
            for group in panel_groups * PANELS..num_groups {
                gemm::<Q, 1>([at(group)], a, first, count, [to(group)], stride);
            }
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
                for (sum, group) in sums.iter_mut().zip(groups) {
                    let sub = group.add(offset);
                    let weights = Q::vectors(sub, &constants);
                    let four =
                        |first: usize| (first..first + 4).fold(ZERO, |sum, i| add_dot(sum, inputs[i], weights[i]));
                    let dots = if Q::HALVES { [four(0), four(4)] } else { [add_sums(four(0), four(4)), ZERO] };
                    add_dots::<Q>(sum, dots, &SubScales::read::<Q>(sub), x);
                }
                offset += Q::LAYOUT.sub_bytes();
                x = x.add(1);
            }
            for r in 0..PANELS {
                totals[r] = sums[r].finish::<Q>(totals[r], groups[r].add(span_offset));
            }
            span_offset = offset;
        }
        for r in 0..PANELS {
            v128_store(out[r] as *mut v128, totals[r]);
        }
    }
}

/// Several tokens: the vectors of a sub-block are unpacked once, and tiles of R groups × 4 tokens pass over them.
#[inline(never)]
unsafe fn gemm<Q: Quantized, const R: usize>(
    groups: [*const u8; R],
    a: &Activations,
    first: usize,
    num_tokens: usize,
    out: [*mut f32; R],
    stride: usize,
) {
    let num_subs = a.cols / SUB_ELEMENTS;
    let span_subs = Q::LAYOUT.num_subs(a.cols);
    let constants = Constants::read();
    let mut totals = [[ZERO; R]; TILE_TOKENS];
    unsafe {
        let mut x = a.blocks.add(first * num_subs);
        let mut spans = groups;
        for _ in 0..num_subs / span_subs {
            let mut sums = [[SpanSum::ZERO; R]; TILE_TOKENS];
            let mut subs = spans.map(|span| span.add(Q::LAYOUT.header_bytes));
            for _ in 0..span_subs {
                let weights = Unpacked {
                    vectors: subs.map(|sub| Q::vectors(sub, &constants)),
                    scales: subs.map(|sub| SubScales::read::<Q>(sub)),
                };
                let mut token = 0;
                // Groups left over go one token at a time: they are three at most.
                while R > 1 && token + 4 <= num_tokens {
                    tile::<Q, R, 4>(&weights, x.add(token * num_subs), num_subs, &mut sums[token..]);
                    token += 4;
                }
                if R > 1 && token + 2 <= num_tokens {
                    tile::<Q, R, 2>(&weights, x.add(token * num_subs), num_subs, &mut sums[token..]);
                    token += 2;
                }
                while token < num_tokens {
                    tile::<Q, R, 1>(&weights, x.add(token * num_subs), num_subs, &mut sums[token..]);
                    token += 1;
                }
                subs = subs.map(|sub| sub.add(Q::LAYOUT.sub_bytes()));
                x = x.add(1);
            }
            for (totals, sums) in totals[..num_tokens].iter_mut().zip(&sums) {
                for r in 0..R {
                    totals[r] = sums[r].finish::<Q>(totals[r], spans[r]);
                }
            }
            spans = subs;
        }
        for (t, totals) in totals[..num_tokens].iter().enumerate() {
            for r in 0..R {
                v128_store(out[r].add(t * stride) as *mut v128, totals[r]);
            }
        }
    }
}

/// A sub-block of R groups.
struct Unpacked<const R: usize> {
    vectors: [[v128; 8]; R],
    scales: [SubScales; R],
}

/// Adds a sub-block to the sums of T tokens, whose activations lie `stride` blocks apart: sums, two weights and an input
/// fill the registers.
#[inline(always)]
unsafe fn tile<Q: Quantized, const R: usize, const T: usize>(
    weights: &Unpacked<R>,
    x: *const ActBlock,
    stride: usize,
    sums: &mut [[SpanSum; R]],
) {
    let x: [*const ActBlock; T] = core::array::from_fn(|t| unsafe { x.add(t * stride) });
    // Unknown to the compiler, which would unroll the loop, take one sum after the other and load everything anew.
    let num_vectors = core::hint::black_box(if Q::HALVES { 4 } else { 8 });
    let part = |first: usize| {
        let mut dots = [[ZERO; T]; R];
        for i in first..first + num_vectors {
            for t in 0..T {
                let input = unsafe { v128_load32_splat((x[t] as *const u32).add(i)) };
                for r in 0..R {
                    dots[r][t] = add_dot(dots[r][t], input, unsafe { *weights.vectors[r].get_unchecked(i) });
                }
            }
        }
        dots
    };
    let first = part(0);
    let second = if Q::HALVES { part(4) } else { first };
    for t in 0..T {
        for r in 0..R {
            unsafe { add_dots::<Q>(&mut sums[t][r], [first[r][t], second[r][t]], &weights.scales[r], x[t]) };
        }
    }
}

/// Vector i holds k 4i … 4i + 3 four times.
#[inline(always)]
unsafe fn splats(x: *const ActBlock) -> [v128; 8] {
    core::array::from_fn(|i| unsafe { v128_load32_splat((x as *const u32).add(i)) })
}

/// Scales of a sub-block in the form its dots want them.
struct SubScales {
    floats: Scales,
    #[cfg(not(feature = "dot32"))]
    pairs: [v128; 2],
}

impl SubScales {
    #[inline(always)]
    unsafe fn read<Q: Quantized>(sub: *const u8) -> SubScales {
        unsafe {
            SubScales {
                floats: Q::scales(sub),
                #[cfg(not(feature = "dot32"))]
                pairs: Q::pair_scales(sub),
            }
        }
    }
}

/// Adds the dots of a sub-block: of each half, or of all of it in the first.
#[inline(always)]
unsafe fn add_dots<Q: Quantized>(sum: &mut SpanSum, dots: [v128; 2], scales: &SubScales, x: *const ActBlock) {
    unsafe {
        let act_scale = splat(&raw const (*x).scale);
        #[cfg(not(feature = "dot32"))]
        if Q::HALVES {
            let first = scaled::<Q>(dots[0], x, 0, scales.pairs[0]);
            sum.add_dots(i32x4_add(first, scaled::<Q>(dots[1], x, 1, scales.pairs[1])), act_scale);
        } else {
            sum.add_dots(scaled::<Q>(dots[0], x, 2, scales.pairs[0]), act_scale);
        }
        #[cfg(feature = "dot32")]
        if Q::HALVES {
            sum.add_dots(centered::<Q>(dots[0], x, 0), f32x4_mul(scales.floats.scale[0], act_scale));
            sum.add_dots(centered::<Q>(dots[1], x, 1), f32x4_mul(scales.floats.scale[1], act_scale));
        } else {
            sum.add_dots(centered::<Q>(dots[0], x, 2), f32x4_mul(scales.floats.scale[0], act_scale));
        }
        sum.add_mins::<Q>(&scales.floats.min, x);
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

/// A sum in 16 bits without its offset times the scales, in 32 bits; `part` of `pair_sums` is what it was taken over.
#[cfg(not(feature = "dot32"))]
#[inline(always)]
unsafe fn scaled<Q: Quantized>(sum: v128, x: *const ActBlock, part: usize, pairs: v128) -> v128 {
    if Q::CENTER == 0 {
        return i32x4_dot_i16x8(sum, pairs);
    }
    let inputs = unsafe { v128_load32_splat((&raw const (*x).pair_sums[part]) as *const u32) };
    let centers = i16x8_shl(inputs, Q::CENTER.trailing_zeros());
    let dots = i32x4_dot_i16x8(i16x8_sub(sum, centers), pairs);
    if Q::CENTER == Q::OFFSET { dots } else { i32x4_add(dots, i32x4_dot_i16x8(centers, pairs)) }
}

/// A sum in 32 bits without its offset.
#[cfg(feature = "dot32")]
#[inline(always)]
unsafe fn centered<Q: Quantized>(sum: v128, x: *const ActBlock, part: usize) -> v128 {
    if Q::OFFSET == 0 {
        return sum;
    }
    let pairs = unsafe { v128_load32_splat((&raw const (*x).pair_sums[part]) as *const u32) };
    i32x4_sub(sum, i32x4_shl(i32x4_extadd_pairwise_i16x8(pairs), Q::OFFSET.trailing_zeros()))
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
