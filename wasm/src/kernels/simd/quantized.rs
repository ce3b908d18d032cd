//! What a tile needs of each quantised type: its weight vectors and its scales. See `block_format.rs` for the bytes.

use super::lanes::{ZERO, load_halves, multiply_add};
use crate::block_format::{Format, IQ4_CODEBOOK, SpanLayout};
use crate::kernels::ActBlock;
use core::arch::wasm32::*;

/// Integer scales of a sub-block as floats, for 4 rows: an element is `factors.0 · scale[half] · (quant − OFFSET) +
/// factors.1 · min[half]`.
pub struct Scales {
    pub scale: [v128; 2],
    pub min: [v128; 2],
}

pub trait Quantized {
    const LAYOUT: SpanLayout;
    /// Subtracted from every quant as it is stored, a power of two or 0.
    const OFFSET: u32 = 0;
    /// Whether elements have a min.
    const HAS_MIN: bool = false;
    /// Each 16 elements have their own scale and min.
    const HALVES: bool = false;

    /// The 8 vectors of quants of the sub-block at `sub`, as stored.
    ///
    /// # Safety
    /// `sub` points to a whole sub-block.
    unsafe fn vectors(sub: *const u8, c: &Constants) -> [v128; 8];

    /// Vectors j and j + 4 lie as those of any other j do, so that a loop can go over them.
    const IS_REGULAR: bool = false;

    /// Vectors `j` and `j + 4`.
    ///
    /// # Safety
    /// As `vectors`.
    #[inline(always)]
    unsafe fn vector_pair(sub: *const u8, j: usize, c: &Constants) -> (v128, v128) {
        unsafe {
            if Self::IS_REGULAR {
                let vectors = Self::vectors(sub.add(16 * j), c);
                return (vectors[0], vectors[4]);
            }
            let vectors = Self::vectors(sub, c);
            (vectors[j], vectors[j + 4])
        }
    }

    /// # Safety
    /// As `vectors`.
    unsafe fn scales(sub: *const u8) -> Scales;

    /// The scales of each half as 16-bit lanes, every row twice.
    ///
    /// # Safety
    /// As `vectors`.
    unsafe fn pair_scales(sub: *const u8) -> [v128; 2];

    /// Of the scales and of the mins.
    ///
    /// # Safety
    /// `span` points to the header of a span.
    unsafe fn factors(span: *const u8) -> (v128, v128);
}

/// What a span's sub-blocks add up to before its factors multiply it, for 4 rows of one token.
#[derive(Clone, Copy)]
pub struct SpanSum {
    pub scaled: v128,
    pub min: v128,
}

impl SpanSum {
    pub const ZERO: SpanSum = SpanSum { scaled: ZERO, min: ZERO };

    /// Adds `dots`, integers, times the activations' scale.
    #[inline(always)]
    pub unsafe fn add_dots(&mut self, dots: v128, scale: v128) {
        self.scaled = multiply_add(f32x4_convert_i32x4(dots), scale, self.scaled);
    }

    #[inline(always)]
    pub unsafe fn add_mins<Q: Quantized>(&mut self, min: &[v128; 2], x: *const ActBlock) {
        unsafe {
            if Q::HAS_MIN && Q::HALVES {
                self.min = multiply_add(splat(&raw const (*x).half_sums[0]), min[0], self.min);
                self.min = multiply_add(splat(&raw const (*x).half_sums[1]), min[1], self.min);
            } else if Q::HAS_MIN {
                self.min = multiply_add(splat(&raw const (*x).sum), min[0], self.min);
            }
        }
    }

    /// total + the span's sum times its factors. Every tile adds in this way, so tiles of any shape give the same bits.
    #[inline(always)]
    pub unsafe fn finish<Q: Quantized>(&self, total: v128, span: *const u8) -> v128 {
        let (scale, min) = unsafe { Q::factors(span) };
        let total = multiply_add(self.scaled, scale, total);
        if Q::HAS_MIN { multiply_add(self.min, min, total) } else { total }
    }
}

/// A float in all lanes.
#[inline(always)]
pub unsafe fn splat(value: *const f32) -> v128 {
    unsafe { v128_load32_splat(value as *const u32) }
}

/// Constants of the inner loops, read from memory: V8 makes a literal anew, in three instructions, at every use.
pub struct Constants([v128; 9]);

#[repr(align(16))]
struct ConstantTable([[u32; 4]; 9]);
/// Bytes of what is left of a byte by a mask.
const fn bytes(mask: u8) -> [u32; 4] {
    [u32::from_ne_bytes([mask; 4]); 4]
}
static CONSTANTS: ConstantTable = ConstantTable([
    bytes(0x0f),
    bytes(0x1f),
    bytes(0x07),
    bytes(0x18),
    bytes(0x3f),
    bytes(0x03),
    bytes(0x0c),
    bytes(0x30),
    bytes(0x20),
]);

impl Constants {
    #[inline(always)]
    pub fn read() -> Constants {
        // SAFETY: the table has nine vectors; volatile, or the compiler would put the literals back.
        Constants(core::array::from_fn(|i| unsafe { (&raw const CONSTANTS.0[i] as *const v128).read_volatile() }))
    }
}

#[inline(always)]
unsafe fn stored(sub: *const u8, vector: usize) -> v128 {
    unsafe { v128_load(sub.add(16 * vector) as *const v128) }
}

#[inline(always)]
unsafe fn nibbles(sub: *const u8, c: &Constants) -> [v128; 8] {
    let low = c.0[0];
    core::array::from_fn(|i| {
        let bytes = unsafe { stored(sub, i % 4) };
        v128_and(if i < 4 { bytes } else { u16x8_shr(bytes, 4) }, low)
    })
}

#[inline(always)]
unsafe fn five_bits(sub: *const u8, c: &Constants) -> [v128; 8] {
    let [_, low5, low3, bits34, _, _, _, _, bit5] = c.0;
    let v: [v128; 5] = core::array::from_fn(|i| unsafe { stored(sub, i) });
    let q = v.map(|v| v128_and(v, low5));
    let low = |v| v128_and(u16x8_shr(v, 5), low3);
    let high = |v| v128_and(u16x8_shr(v, 3), bits34);
    let (b, d) = (v128_and(v[1], bit5), v128_and(v[3], bit5));
    let last = u16x8_shr(v128_or(b, i16x8_shl(d, 1)), 2);
    let q5 = v128_or(low(v[0]), high(v[1]));
    let q6 = v128_or(low(v[2]), high(v[3]));
    let q7 = v128_or(low(v[4]), last);
    [q[0], q[1], q[2], q[3], q[4], q5, q6, q7]
}

#[inline(always)]
unsafe fn six_bits(sub: *const u8, c: &Constants) -> [v128; 8] {
    let [_, _, _, _, low6, bits01, bits23, bits45, _] = c.0;
    let v: [v128; 6] = core::array::from_fn(|i| unsafe { stored(sub, i) });
    let q = v.map(|v| v128_and(v, low6));
    let joined = |a: v128, b: v128, c: v128| {
        let low = v128_or(v128_and(u16x8_shr(a, 6), bits01), v128_and(u16x8_shr(b, 4), bits23));
        v128_or(low, v128_and(u16x8_shr(c, 2), bits45))
    };
    [q[0], q[1], q[2], q[3], q[4], q[5], joined(v[0], v[1], v[2]), joined(v[3], v[4], v[5])]
}

/// The bits of `mask` at `from` in every byte, moved to `to`. Shifts are of 16-bit lanes: V8 has no cheap 8-bit shift on
/// x64, and what crosses a byte border is masked off.
#[inline(always)]
fn moved(bytes: v128, mask: u8, from: usize, to: usize) -> v128 {
    let shifted = if from <= to { i16x8_shl(bytes, (to - from) as u32) } else { u16x8_shr(bytes, (from - to) as u32) };
    v128_and(shifted, u8x16_splat(mask << to))
}

#[inline(always)]
unsafe fn two_bits(sub: *const u8, _: &Constants) -> [v128; 8] {
    core::array::from_fn(|i| moved(unsafe { stored(sub, i / 4) }, 3, 2 * (i % 4), 0))
}

#[inline(always)]
unsafe fn three_bits(sub: *const u8, c: &Constants) -> [v128; 8] {
    let low = unsafe { two_bits(sub, c) };
    let third = unsafe { stored(sub, 2) };
    core::array::from_fn(|i| v128_or(low[i], moved(third, 1, i, 2)))
}

#[inline(always)]
unsafe fn signed_bytes(sub: *const u8, _: &Constants) -> [v128; 8] {
    core::array::from_fn(|i| unsafe { stored(sub, i) })
}

/// Indices below 16, on which both swizzles agree, to the signed weights they stand for.
#[inline(always)]
unsafe fn codebook(sub: *const u8, c: &Constants) -> [v128; 8] {
    // SAFETY: a v128 is any 16 bytes.
    const TABLE: v128 = unsafe { core::mem::transmute(IQ4_CODEBOOK) };
    #[cfg(target_feature = "relaxed-simd")]
    let look_up = |indices| i8x16_relaxed_swizzle(TABLE, indices);
    #[cfg(not(target_feature = "relaxed-simd"))]
    let look_up = |indices| i8x16_swizzle(TABLE, indices);
    unsafe { nibbles(sub, c) }.map(look_up)
}

/// The integer scales of a type, as `Quantized` wants them; `at` points to where a sub-block keeps them.
trait ScaleKind {
    unsafe fn scales(at: *const u8) -> Scales;
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
fn twice(words: v128) -> [v128; 2] {
    [i16x8_shuffle::<0, 0, 1, 1, 2, 2, 3, 3>(words, words), i16x8_shuffle::<4, 4, 5, 5, 6, 6, 7, 7>(words, words)]
}

/// f16 d and dmin of a 256-type, which is subtracted.
#[inline(always)]
unsafe fn half_factors(span: *const u8) -> (v128, v128) {
    unsafe { (load_halves(span), f32x4_neg(load_halves(span.add(8)))) }
}

/// i16 scales of 4 rows.
struct Words;
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
struct WordsAndMins;
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
struct SumsAndWords;
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
struct BytesAndMins;
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
struct HalfBytes;
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
        (unsafe { load_halves(span) }, ZERO)
    }
}

/// Bytes of a 4-bit scale and a 4-bit min of the first half of 4 rows, and of the second.
struct HalfNibbles;
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
struct Bytes;
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

macro_rules! quantized {
    ($name:ident, $vectors:ident, $scales:ident, {$($item:tt)*}) => {
        #[allow(non_camel_case_types)]
        pub struct $name;
        impl Quantized for $name {
            const LAYOUT: SpanLayout = Format::$name.layout();
            $($item)*
            #[inline(always)]
            unsafe fn vectors(sub: *const u8, c: &Constants) -> [v128; 8] {
                unsafe { $vectors(sub, c) }
            }
            #[inline(always)]
            unsafe fn scales(sub: *const u8) -> Scales {
                unsafe { $scales::scales(sub.add(Self::LAYOUT.quant_bytes)) }
            }
            #[inline(always)]
            unsafe fn pair_scales(sub: *const u8) -> [v128; 2] {
                unsafe { $scales::pair_scales(sub.add(Self::LAYOUT.quant_bytes)) }
            }
            #[inline(always)]
            unsafe fn factors(span: *const u8) -> (v128, v128) {
                unsafe { $scales::factors(span) }
            }
        }
    };
}

quantized!(Q4_0, nibbles, Words, {
    const IS_REGULAR: bool = true;
    const OFFSET: u32 = 8;
});
quantized!(Q4_1, nibbles, WordsAndMins, {
    const IS_REGULAR: bool = true;
    const HAS_MIN: bool = true;
});
quantized!(Q5_0, five_bits, Words, {
    const OFFSET: u32 = 16;
});
quantized!(Q5_1, five_bits, WordsAndMins, {
    const HAS_MIN: bool = true;
});
quantized!(Q8_0, signed_bytes, SumsAndWords, {
    const IS_REGULAR: bool = true;
});
quantized!(Q2_K, two_bits, HalfNibbles, {
    const HAS_MIN: bool = true;
    const HALVES: bool = true;
});
quantized!(Q3_K, three_bits, HalfBytes, {
    const OFFSET: u32 = 4;
    const HALVES: bool = true;
});
quantized!(Q4_K, nibbles, BytesAndMins, {
    const IS_REGULAR: bool = true;
    const HAS_MIN: bool = true;
});
quantized!(Q5_K, five_bits, BytesAndMins, {
    const HAS_MIN: bool = true;
});
quantized!(Q6_K, six_bits, HalfBytes, {
    const OFFSET: u32 = 32;
    const HALVES: bool = true;
});
quantized!(IQ4_NL, codebook, Words, {
    const IS_REGULAR: bool = true;
});
quantized!(IQ4_XS, codebook, Bytes, {
    const IS_REGULAR: bool = true;
});
