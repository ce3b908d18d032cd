//! The precisions of K and V as attention multiplies them. Scores and weighted sums are the same operation: a lane
//! (a token for K, a component for V) collects step after step, each value times what all lanes share, a query's component
//! or a token's weight. f16 stays scaled by 2^-112 in registers, and what it meets is scaled by 2^56, so that neither side
//! leaves the range of f32 and no multiplication is spent on the conversion. Integers meet 16-bit numbers, quantised per
//! query and per span of weights. The sums are exact, `COMPONENTS` components or 64 tokens long, so every kernel set gets
//! the same.

use super::lanes::{ZERO, max_lanes, multiply_add};
use crate::kernels::activations::ATTENTION_SPAN;
use crate::kv_pool::Precision;
use core::arch::wasm32::*;

/// Each size is code of its own, some 6 KB.
#[derive(PartialEq)]
pub enum RowTiles {
    /// Up to 4, as even as they get: 5 are 3 and 2.
    Even,
    FourOrOne,
    One,
}

impl RowTiles {
    pub const fn of_left(&self, left: usize) -> usize {
        match self {
            RowTiles::Even => left.div_ceil(left.div_ceil(4)),
            RowTiles::FourOrOne if left >= 4 => 4,
            _ => 1,
        }
    }
}

pub trait Cache {
    const PRECISION: Precision;
    /// Values of a lane that one step multiplies.
    const STEP: usize = Self::PRECISION.step();
    /// Bytes of the four lanes of a step.
    const STEP_BYTES: usize = 4 * Self::STEP * Self::PRECISION.value_bytes();

    /// How many of the rows that share a kv head share each read of it.
    const ROWS: RowTiles = RowTiles::Even;
    /// Components of a score that are collected before they become f32.
    const COMPONENTS: usize = usize::MAX;

    /// Four lanes of a step.
    unsafe fn load(at: *const u8) -> v128;

    /// sum + values · what all lanes share.
    fn collect(values: v128, shared: v128, sum: v128) -> v128;

    /// The query as words to share, one a step; returns what a score is to be multiplied by.
    unsafe fn share_query(query: *const f32, head_dim: usize, words: *mut f32) -> f32;

    /// Products of a group of K; its scales lie at `group`.
    unsafe fn scores(sum: v128, group: *const u8) -> v128;

    /// Weights of a group's tokens, to be shared by the lanes of V; its scales lie at `group`.
    unsafe fn scale_weights(weights: v128, group: *const u8) -> v128;

    /// Weights to words to share, in place; returns what a weighted sum is to be multiplied by.
    unsafe fn share_weights(weights: *mut f32, num_weights: usize) -> f32;

    /// Collected lanes as f32.
    fn floats(sum: v128) -> v128;
}

pub struct CacheF32;
pub struct CacheF16;
pub struct CacheQ8;
pub struct CacheI16;

impl Cache for CacheF32 {
    const PRECISION: Precision = Precision::F32;
    /// For comparisons; nobody waits for it.
    const ROWS: RowTiles = RowTiles::One;

    #[inline(always)]
    unsafe fn load(at: *const u8) -> v128 {
        unsafe { v128_load(at as *const v128) }
    }

    #[inline(always)]
    fn collect(values: v128, shared: v128, sum: v128) -> v128 {
        multiply_add(values, shared, sum)
    }

    unsafe fn share_query(query: *const f32, head_dim: usize, words: *mut f32) -> f32 {
        unsafe { scale(query, head_dim, words, 1.0) };
        1.0
    }

    #[inline(always)]
    unsafe fn scores(sum: v128, _: *const u8) -> v128 {
        sum
    }

    #[inline(always)]
    unsafe fn scale_weights(weights: v128, _: *const u8) -> v128 {
        weights
    }

    #[inline(always)]
    unsafe fn share_weights(_: *mut f32, _: usize) -> f32 {
        1.0
    }

    #[inline(always)]
    fn floats(sum: v128) -> v128 {
        sum
    }
}

const TWO_POW_56: f32 = f32::from_bits((56 + 127) << 23);

impl Cache for CacheF16 {
    const PRECISION: Precision = Precision::F16;
    /// I16 is as precise and faster.
    const ROWS: RowTiles = RowTiles::FourOrOne;

    /// As `lanes::load_halves`, 2^-112 times the value.
    #[inline(always)]
    unsafe fn load(at: *const u8) -> v128 {
        let halves = unsafe { i32x4_load_extend_i16x4(at as *const i16) };
        v128_and(i32x4_shl(halves, 13), u32x4_splat(0x8fff_e000))
    }

    #[inline(always)]
    fn collect(values: v128, shared: v128, sum: v128) -> v128 {
        multiply_add(values, shared, sum)
    }

    unsafe fn share_query(query: *const f32, head_dim: usize, words: *mut f32) -> f32 {
        unsafe { scale(query, head_dim, words, TWO_POW_56) };
        TWO_POW_56
    }

    #[inline(always)]
    unsafe fn scores(sum: v128, _: *const u8) -> v128 {
        sum
    }

    #[inline(always)]
    unsafe fn scale_weights(weights: v128, _: *const u8) -> v128 {
        f32x4_mul(weights, f32x4_splat(TWO_POW_56))
    }

    #[inline(always)]
    unsafe fn share_weights(_: *mut f32, _: usize) -> f32 {
        TWO_POW_56
    }

    #[inline(always)]
    fn floats(sum: v128) -> v128 {
        sum
    }
}

macro_rules! integer_cache {
    ($name:ident, $precision:ident, $components:literal, $shared:literal, $load:expr) => {
        impl Cache for $name {
            const PRECISION: Precision = Precision::$precision;
            const COMPONENTS: usize = $components;

            #[inline(always)]
            unsafe fn load(at: *const u8) -> v128 {
                unsafe { $load(at as *const _) }
            }

            #[inline(always)]
            fn collect(values: v128, shared: v128, sum: v128) -> v128 {
                i32x4_add(sum, i32x4_dot_i16x8(values, shared))
            }

            unsafe fn share_query(query: *const f32, head_dim: usize, words: *mut f32) -> f32 {
                // Products of the largest integers stay below 2^31, summed over so many components or over a span.
                const { assert!(Precision::$precision.most() as u64 * $shared * $components <= i32::MAX as u64) };
                const { assert!(Precision::$precision.most() as u64 * $shared * ATTENTION_SPAN as u64 <= i32::MAX as u64) };
                unsafe { quantize(query, head_dim, words, $shared as f32) }
            }

            #[inline(always)]
            unsafe fn scores(sum: v128, group: *const u8) -> v128 {
                f32x4_mul(sum, unsafe { v128_load(group as *const v128) })
            }

            /// A token without weight may lie in a slot that was never written: whatever its scale is, it adds 0.
            #[inline(always)]
            unsafe fn scale_weights(weights: v128, group: *const u8) -> v128 {
                let scaled = f32x4_mul(weights, unsafe { v128_load(group as *const v128) });
                v128_and(scaled, f32x4_gt(weights, ZERO))
            }

            unsafe fn share_weights(weights: *mut f32, num_weights: usize) -> f32 {
                unsafe { quantize(weights, num_weights, weights, $shared as f32) }
            }

            #[inline(always)]
            fn floats(sum: v128) -> v128 {
                f32x4_convert_i32x4(sum)
            }
        }
    };
}

integer_cache!(CacheQ8, Q8, 512, 32767, i16x8_load_extend_i8x8);
integer_cache!(CacheI16, I16, 64, 8191, v128_load);

unsafe fn scale(x: *const f32, len: usize, out: *mut f32, factor: f32) {
    for at in (0..len).step_by(4) {
        unsafe {
            let value = v128_load(x.add(at) as *const v128);
            v128_store(out.add(at) as *mut v128, f32x4_mul(value, f32x4_splat(factor)));
        }
    }
}

/// x as 16-bit integers of at most `most`, two a word; returns their scale. `out` may be `x`.
unsafe fn quantize(x: *const f32, len: usize, out: *mut f32, most: f32) -> f32 {
    let load = |at: usize| unsafe { v128_load(x.add(at) as *const v128) };
    let largest = max_lanes((0..len).step_by(4).fold(ZERO, |max, at| f32x4_max(max, f32x4_abs(load(at)))));
    let inverse = f32x4_splat(if largest > 0.0 { most / largest } else { 0.0 });
    for at in (0..len).step_by(4) {
        let rounded = i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(load(at), inverse)));
        unsafe { v128_store64_lane::<0>(i16x8_narrow_i32x4(rounded, rounded), out.add(at / 2) as *mut u64) };
    }
    largest / most
}
