//! What a tile needs of each quantised type: its weight vectors, and its scales by their kind. See `block_format.rs` for the bytes.

use super::lanes::{ZERO, multiply_add};
use super::scales::*;
use crate::block_format::{Format, IQ4_CODEBOOK, SpanLayout};
use crate::kernels::ActBlock;
use core::arch::wasm32::*;

pub trait Quantized {
    const LAYOUT: SpanLayout;
    /// Subtracted from every quant as it is stored, a power of two or 0.
    const OFFSET: u32 = 0;
    /// What quants are centered by where sums of them must fit 16 bits; added again where it is not the offset.
    #[cfg(target_feature = "relaxed-simd")]
    const CENTER: u32 = Self::OFFSET;
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
    #[allow(dead_code)] // As `ScaleKind::pair_scales`.
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

    /// total + the span's sum times its `Quantized::factors`. Every tile adds in this way, so tiles of any shape give the
    /// same bits.
    #[inline(always)]
    pub fn finish<Q: Quantized>(&self, total: v128, (scale, min): (v128, v128)) -> v128 {
        let total = multiply_add(self.scaled, scale, total);
        if Q::HAS_MIN { multiply_add(self.min, min, total) } else { total }
    }
}

/// A float in all lanes.
#[inline(always)]
pub unsafe fn splat(value: *const f32) -> v128 {
    unsafe { v128_load32_splat(value as *const u32) }
}

/// Masks of the inner loops by the bits that they leave, read from memory: V8 makes a literal anew, in three instructions,
/// at every use.
pub struct Constants {
    low4: v128,
    low5: v128,
    low3: v128,
    bits34: v128,
    low6: v128,
    bits01: v128,
    bits23: v128,
    bits45: v128,
    bit5: v128,
}

#[repr(align(16))]
struct MaskTable([[u8; 16]; 9]);
static MASKS: MaskTable = MaskTable([
    [0x0f; 16], [0x1f; 16], [0x07; 16], [0x18; 16], [0x3f; 16], [0x03; 16], [0x0c; 16], [0x30; 16], [0x20; 16],
]);

impl Constants {
    #[inline(always)]
    pub fn read() -> Constants {
        // SAFETY: the table has nine vectors; volatile, or the compiler would put the literals back.
        let mask = |i: usize| unsafe { (&raw const MASKS.0[i] as *const v128).read_volatile() };
        let [low4, low5, low3, bits34, low6, bits01, bits23, bits45, bit5] = core::array::from_fn(mask);
        Constants { low4, low5, low3, bits34, low6, bits01, bits23, bits45, bit5 }
    }
}

#[inline(always)]
unsafe fn stored(sub: *const u8, vector: usize) -> v128 {
    unsafe { v128_load(sub.add(16 * vector) as *const v128) }
}

#[inline(always)]
unsafe fn nibbles(sub: *const u8, c: &Constants) -> [v128; 8] {
    core::array::from_fn(|i| {
        let bytes = unsafe { stored(sub, i % 4) };
        v128_and(if i < 4 { bytes } else { u16x8_shr(bytes, 4) }, c.low4)
    })
}

#[inline(always)]
unsafe fn five_bits(sub: *const u8, c: &Constants) -> [v128; 8] {
    let &Constants { low5, low3, bits34, bit5, .. } = c;
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
    let &Constants { low6, bits01, bits23, bits45, .. } = c;
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
    #[cfg(all(target_feature = "relaxed-simd", not(feature = "dot32")))]
    const CENTER: u32 = 16;
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
    #[cfg(all(target_feature = "relaxed-simd", not(feature = "dot32")))]
    const CENTER: u32 = 16;
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
