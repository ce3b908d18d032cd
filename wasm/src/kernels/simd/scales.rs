//! Where types keep the integer scales of a sub-block, and the factors of a span's; see `block_format.rs` for the bytes.

use super::lanes::{ZERO, load_small_halves};
use core::arch::wasm32::*;

/// Integer scales of a sub-block as floats, for 4 rows: an element is `factors.0 · scale[half] · (quant − OFFSET) +
/// factors.1 · min[half]`.
pub struct Scales {
    pub scale: [v128; 2],
    pub min: [v128; 2],
}

/// The integer scales of a type, as `Quantized` wants them; `at` points to where a sub-block keeps them.
pub trait ScaleKind {
    unsafe fn scales(at: *const u8) -> Scales;
    // Sets without the 16-bit dot multiply floats; a condition at each of eight places would say no more.
    #[allow(dead_code)]
    unsafe fn pair_scales(at: *const u8) -> [v128; 2];
    unsafe fn factors(span: *const u8) -> (v128, v128);
}

#[inline(always)]
fn both(v: v128) -> [v128; 2] {
    [v; 2]
}

/// Lanes 0 … 3 as floats, and lanes 4 … 7.
#[inline(always)]
fn floats(words: v128) -> [v128; 2] {
    [f32x4_convert_i32x4(i32x4_extend_low_i16x8(words)), f32x4_convert_i32x4(i32x4_extend_high_i16x8(words))]
}

/// Lanes 0 … 3 twice each, and lanes 4 … 7.
#[inline(always)]
#[allow(dead_code)] // As `pair_scales`.
fn twice(words: v128) -> [v128; 2] {
    [i16x8_shuffle::<0, 0, 1, 1, 2, 2, 3, 3>(words, words), i16x8_shuffle::<4, 4, 5, 5, 6, 6, 7, 7>(words, words)]
}

/// f16 d and dmin of a 256-type, which is subtracted.
#[inline(always)]
unsafe fn half_factors(span: *const u8) -> (v128, v128) {
    unsafe { (load_small_halves(span), f32x4_neg(load_small_halves(span.add(8)))) }
}

/// i16 scales of 4 rows.
pub struct Words;
impl ScaleKind for Words {
    #[inline(always)]
    unsafe fn scales(at: *const u8) -> Scales {
        let scale = f32x4_convert_i32x4(unsafe { i32x4_load_extend_i16x4(at as *const i16) });
        Scales { scale: both(scale), min: both(ZERO) }
    }
    #[inline(always)]
    unsafe fn pair_scales(at: *const u8) -> [v128; 2] {
        twice(unsafe { v128_load64_zero(at as *const u64) })
    }
    #[inline(always)]
    unsafe fn factors(span: *const u8) -> (v128, v128) {
        (unsafe { v128_load(span as *const v128) }, ZERO)
    }
}

/// i16 scales of 4 rows and i16 mins.
pub struct WordsAndMins;
impl ScaleKind for WordsAndMins {
    #[inline(always)]
    unsafe fn scales(at: *const u8) -> Scales {
        let min = f32x4_convert_i32x4(unsafe { i32x4_load_extend_i16x4(at.add(8) as *const i16) });
        Scales { min: both(min), ..unsafe { Words::scales(at) } }
    }
    #[inline(always)]
    unsafe fn pair_scales(at: *const u8) -> [v128; 2] {
        unsafe { Words::pair_scales(at) }
    }
    #[inline(always)]
    unsafe fn factors(span: *const u8) -> (v128, v128) {
        unsafe { (v128_load(span as *const v128), v128_load(span.add(16) as *const v128)) }
    }
}

/// The sum of the quants and the scale of each row, i16 both.
pub struct SumsAndWords;
impl ScaleKind for SumsAndWords {
    #[inline(always)]
    unsafe fn scales(at: *const u8) -> Scales {
        let scale = f32x4_convert_i32x4(i32x4_shr(unsafe { v128_load(at as *const v128) }, 16));
        Scales { scale: both(scale), min: both(ZERO) }
    }
    #[inline(always)]
    unsafe fn pair_scales(_: *const u8) -> [v128; 2] {
        both(ZERO)
    }
    #[inline(always)]
    unsafe fn factors(span: *const u8) -> (v128, v128) {
        unsafe { Words::factors(span) }
    }
}

/// u8 scales of 4 rows and u8 mins.
pub struct BytesAndMins;
impl ScaleKind for BytesAndMins {
    #[inline(always)]
    unsafe fn scales(at: *const u8) -> Scales {
        let [scale, min] = floats(unsafe { u16x8_load_extend_u8x8(at) });
        Scales { scale: both(scale), min: both(min) }
    }
    #[inline(always)]
    unsafe fn pair_scales(at: *const u8) -> [v128; 2] {
        twice(unsafe { u16x8_load_extend_u8x8(at) })
    }
    #[inline(always)]
    unsafe fn factors(span: *const u8) -> (v128, v128) {
        unsafe { half_factors(span) }
    }
}

/// i8 scales of the first half of 4 rows, and of the second.
pub struct HalfBytes;
impl ScaleKind for HalfBytes {
    #[inline(always)]
    unsafe fn scales(at: *const u8) -> Scales {
        Scales { scale: floats(unsafe { i16x8_load_extend_i8x8(at as *const i8) }), min: both(ZERO) }
    }
    #[inline(always)]
    unsafe fn pair_scales(at: *const u8) -> [v128; 2] {
        twice(unsafe { i16x8_load_extend_i8x8(at as *const i8) })
    }
    #[inline(always)]
    unsafe fn factors(span: *const u8) -> (v128, v128) {
        (unsafe { load_small_halves(span) }, ZERO)
    }
}

/// Bytes of a 4-bit scale and a 4-bit min of the first half of 4 rows, and of the second.
pub struct HalfNibbles;
impl ScaleKind for HalfNibbles {
    #[inline(always)]
    unsafe fn scales(at: *const u8) -> Scales {
        let bytes = unsafe { u16x8_load_extend_u8x8(at) };
        Scales { scale: floats(v128_and(bytes, u16x8_splat(15))), min: floats(u16x8_shr(bytes, 4)) }
    }
    #[inline(always)]
    unsafe fn pair_scales(at: *const u8) -> [v128; 2] {
        twice(v128_and(unsafe { u16x8_load_extend_u8x8(at) }, u16x8_splat(15)))
    }
    #[inline(always)]
    unsafe fn factors(span: *const u8) -> (v128, v128) {
        unsafe { half_factors(span) }
    }
}

/// i8 scales of 4 rows.
pub struct Bytes;
impl ScaleKind for Bytes {
    #[inline(always)]
    unsafe fn scales(at: *const u8) -> Scales {
        let words = i16x8_extend_low_i8x16(unsafe { v128_load32_zero(at as *const u32) });
        Scales { scale: both(floats(words)[0]), min: both(ZERO) }
    }
    #[inline(always)]
    unsafe fn pair_scales(at: *const u8) -> [v128; 2] {
        twice(i16x8_extend_low_i8x16(unsafe { v128_load32_zero(at as *const u32) }))
    }
    #[inline(always)]
    unsafe fn factors(span: *const u8) -> (v128, v128) {
        unsafe { HalfBytes::factors(span) }
    }
}
