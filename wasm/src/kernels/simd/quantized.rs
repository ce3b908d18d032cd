//! What a tile needs of each quantised type: its weight vectors and its scales. See `block_format.rs` for the bytes.

use super::lanes::{ZERO, load_halves};
use super::mac::{ExactDot, Mac, UnsignedMac};
use crate::block_format::{BlockLayout, Format};
use core::arch::wasm32::*;

/// Scales of 4 rows: an element is `scale[half] · (quant − OFFSET) + min`.
pub struct Scales {
    pub scale: [v128; 2],
    pub min: v128,
}

pub trait Quantized {
    type Mac: Mac;
    const LAYOUT: BlockLayout;
    /// Subtracted from every quant: the integer sum starts at −OFFSET · Σ activations.
    const OFFSET: i32 = 0;
    /// Whether `Scales::min` is used.
    const HAS_MIN: bool = false;
    /// Each 16 elements have their own scale.
    const HALVES: bool = false;
    /// Relaxed dots that one 16-bit sum can take: 32767 / (2 · 127 · largest quant).
    const DOTS_PER_WIDENING: usize;

    /// Vectors `j` and `j + 4` of the sub-block at `sub` (j < 4).
    ///
    /// # Safety
    /// `sub` points to a whole sub-block.
    unsafe fn vectors(sub: *const u8, j: usize) -> (v128, v128);

    /// # Safety
    /// `block` points to a whole block, `sub` to a sub-block of it.
    unsafe fn scales(block: *const u8, sub: *const u8) -> Scales;
}

#[inline(always)]
unsafe fn nibbles(sub: *const u8, j: usize) -> (v128, v128) {
    let bytes = unsafe { v128_load(sub.add(16 * j) as *const v128) };
    let mask = u8x16_splat(15);
    (v128_and(bytes, mask), v128_and(u16x8_shr(bytes, 4), mask))
}

/// Bit `vector` of every byte, moved to bit 4. Shifts are of 16-bit lanes: V8 has no cheap 8-bit shift on x64, and what
/// crosses a byte border is masked off.
#[inline(always)]
fn fifth_bit(bits: v128, vector: usize) -> v128 {
    let moved = if vector <= 4 { i16x8_shl(bits, 4 - vector as u32) } else { u16x8_shr(bits, vector as u32 - 4) };
    v128_and(moved, u8x16_splat(16))
}

#[inline(always)]
unsafe fn five_bits(sub: *const u8, j: usize) -> (v128, v128) {
    let (low, high) = unsafe { nibbles(sub, j) };
    let bits = unsafe { v128_load(sub.add(64) as *const v128) };
    (v128_or(low, fifth_bit(bits, j)), v128_or(high, fifth_bit(bits, j + 4)))
}

/// Bits 2c and 2c + 1 of every byte, moved to bits 4 and 5.
#[inline(always)]
fn top_bits(bits: v128, c: usize) -> v128 {
    let moved = if c <= 2 { i16x8_shl(bits, 4 - 2 * c as u32) } else { u16x8_shr(bits, 2 * c as u32 - 4) };
    v128_and(moved, u8x16_splat(0x30))
}

#[inline(always)]
unsafe fn six_bits(sub: *const u8, j: usize) -> (v128, v128) {
    unsafe {
        let (low, high) = nibbles(sub, j);
        let first = v128_load(sub.add(64) as *const v128);
        let second = v128_load(sub.add(80) as *const v128);
        (v128_or(low, top_bits(first, j)), v128_or(high, top_bits(second, j)))
    }
}

/// Four bytes as f32 lanes.
#[inline(always)]
unsafe fn bytes_to_f32<const SIGNED: bool>(from: *const u8) -> v128 {
    let bytes = unsafe { v128_load32_zero(from as *const u32) };
    if SIGNED {
        f32x4_convert_i32x4(i32x4_extend_low_i16x8(i16x8_extend_low_i8x16(bytes)))
    } else {
        f32x4_convert_i32x4(u32x4_extend_low_u16x8(u16x8_extend_low_u8x16(bytes)))
    }
}

/// One f16 scale, and an f16 min where there is one, for each row.
#[inline(always)]
unsafe fn plain_scales(at: *const u8, has_min: bool) -> Scales {
    unsafe {
        let scale = load_halves(at);
        Scales { scale: [scale; 2], min: if has_min { load_halves(at.add(8)) } else { ZERO } }
    }
}

/// f16 d and dmin of the block times the 6-bit scale and min of the sub-block.
#[inline(always)]
unsafe fn k_scales(block: *const u8, at: *const u8) -> Scales {
    unsafe {
        let scale = f32x4_mul(load_halves(block), bytes_to_f32::<false>(at));
        let min = f32x4_mul(load_halves(block.add(8)), bytes_to_f32::<false>(at.add(4)));
        Scales { scale: [scale; 2], min: f32x4_neg(min) }
    }
}

macro_rules! quantized {
    ($name:ident, $format:expr, $vectors:ident, $dots:expr, |$block:ident, $at:ident| $scales:expr, {$($constant:tt)*}) => {
        #[allow(non_camel_case_types)]
        pub struct $name;
        impl Quantized for $name {
            type Mac = UnsignedMac;
            const LAYOUT: BlockLayout = $format.layout();
            const DOTS_PER_WIDENING: usize = $dots;
            $($constant)*
            #[inline(always)]
            unsafe fn vectors(sub: *const u8, j: usize) -> (v128, v128) {
                unsafe { $vectors(sub, j) }
            }
            #[inline(always)]
            unsafe fn scales($block: *const u8, sub: *const u8) -> Scales {
                unsafe {
                    let $at = sub.add(Self::LAYOUT.low_bytes + Self::LAYOUT.high_bytes);
                    $scales
                }
            }
        }
    };
}

quantized!(Q4_0, Format::Q4_0, nibbles, 8, |_block, at| plain_scales(at, false), {
    const OFFSET: i32 = 8;
});
quantized!(Q4_1, Format::Q4_1, nibbles, 8, |_block, at| plain_scales(at, true), {
    const HAS_MIN: bool = true;
});
quantized!(Q5_0, Format::Q5_0, five_bits, 4, |_block, at| plain_scales(at, false), {
    const OFFSET: i32 = 16;
});
quantized!(Q5_1, Format::Q5_1, five_bits, 4, |_block, at| plain_scales(at, true), {
    const HAS_MIN: bool = true;
});
quantized!(Q4_K, Format::Q4_K, nibbles, 8, |block, at| k_scales(block, at), {
    const HAS_MIN: bool = true;
});
quantized!(Q5_K, Format::Q5_K, five_bits, 4, |block, at| k_scales(block, at), {
    const HAS_MIN: bool = true;
});
quantized!(
    Q6_K,
    Format::Q6_K,
    six_bits,
    2,
    |block, at| {
        let d = load_halves(block);
        let scale = [f32x4_mul(d, bytes_to_f32::<true>(at)), f32x4_mul(d, bytes_to_f32::<true>(at.add(4)))];
        Scales { scale, min: ZERO }
    },
    {
        const OFFSET: i32 = 32;
        const HALVES: bool = true;
    }
);

/// Signed bytes do not fit the relaxed dot's 0…127: always the exact way.
#[allow(non_camel_case_types)]
pub struct Q8_0;

impl Quantized for Q8_0 {
    type Mac = ExactDot<true>;
    const LAYOUT: BlockLayout = Format::Q8_0.layout();
    const DOTS_PER_WIDENING: usize = 8;
    #[inline(always)]
    unsafe fn vectors(sub: *const u8, j: usize) -> (v128, v128) {
        unsafe { (v128_load(sub.add(16 * j) as *const v128), v128_load(sub.add(64 + 16 * j) as *const v128)) }
    }
    #[inline(always)]
    unsafe fn scales(_block: *const u8, sub: *const u8) -> Scales {
        unsafe { plain_scales(sub.add(128), false) }
    }
}
