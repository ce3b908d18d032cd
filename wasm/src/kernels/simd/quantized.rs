//! What a tile needs of each quantised type: its weight vectors and its scales. See `block_format.rs` for the bytes.

use super::lanes::{ZERO, load_halves};
use super::mac::{Mac, SignedMac, UnsignedMac};
use crate::block_format::{BlockLayout, Format, IQ4_CODEBOOK};
use core::arch::wasm32::*;

/// Scales of 4 rows: an element is `scale[half] · (quant − OFFSET) + min[half]`.
pub struct Scales {
    pub scale: [v128; 2],
    pub min: [v128; 2],
}

pub trait Quantized {
    type Mac: Mac;
    const LAYOUT: BlockLayout;
    /// Subtracted from every quant: the integer sum starts at −OFFSET · Σ activations.
    const OFFSET: i32 = 0;
    /// Whether `Scales::min` is used.
    const HAS_MIN: bool = false;
    /// Each 16 elements have their own scale and min.
    const HALVES: bool = false;
    /// Relaxed dots that one 16-bit sum takes: at most 32767 / (2 · 127 · largest quant), and no more than the 8 of a
    /// sub-block, or 4 of a half.
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

/// The bits of `mask` at `from` in every byte, moved to `to`. Shifts are of 16-bit lanes: V8 has no cheap 8-bit shift on
/// x64, and what crosses a byte border is masked off.
#[inline(always)]
fn moved(bytes: v128, mask: u8, from: usize, to: usize) -> v128 {
    let shifted = if from <= to { i16x8_shl(bytes, (to - from) as u32) } else { u16x8_shr(bytes, (from - to) as u32) };
    v128_and(shifted, u8x16_splat(mask << to))
}

/// The single bits of vectors j and j + 4, moved to bit `to`.
#[inline(always)]
unsafe fn single_bits(from: *const u8, j: usize, to: usize) -> (v128, v128) {
    let bits = unsafe { v128_load(from as *const v128) };
    (moved(bits, 1, j, to), moved(bits, 1, j + 4, to))
}

/// The bit pairs of vectors j and j + 4, moved to bit `to`.
#[inline(always)]
unsafe fn bit_pairs(from: *const u8, j: usize, to: usize) -> (v128, v128) {
    let (first, second) = unsafe { (v128_load(from as *const v128), v128_load(from.add(16) as *const v128)) };
    (moved(first, 3, 2 * j, to), moved(second, 3, 2 * j, to))
}

#[inline(always)]
fn join(low: (v128, v128), high: (v128, v128)) -> (v128, v128) {
    (v128_or(low.0, high.0), v128_or(low.1, high.1))
}

#[inline(always)]
unsafe fn two_bits(sub: *const u8, j: usize) -> (v128, v128) {
    unsafe { bit_pairs(sub, j, 0) }
}

#[inline(always)]
unsafe fn three_bits(sub: *const u8, j: usize) -> (v128, v128) {
    unsafe { join(bit_pairs(sub, j, 0), single_bits(sub.add(32), j, 2)) }
}

#[inline(always)]
unsafe fn five_bits(sub: *const u8, j: usize) -> (v128, v128) {
    unsafe { join(nibbles(sub, j), single_bits(sub.add(64), j, 4)) }
}

#[inline(always)]
unsafe fn six_bits(sub: *const u8, j: usize) -> (v128, v128) {
    unsafe { join(nibbles(sub, j), bit_pairs(sub.add(64), j, 4)) }
}

#[inline(always)]
unsafe fn signed_bytes(sub: *const u8, j: usize) -> (v128, v128) {
    unsafe { (v128_load(sub.add(16 * j) as *const v128), v128_load(sub.add(64 + 16 * j) as *const v128)) }
}

/// Indices below 16, on which both swizzles agree, to the signed weights they stand for.
#[inline(always)]
unsafe fn codebook(sub: *const u8, j: usize) -> (v128, v128) {
    // SAFETY: a v128 is any 16 bytes.
    const TABLE: v128 = unsafe { core::mem::transmute(IQ4_CODEBOOK) };
    #[cfg(target_feature = "relaxed-simd")]
    let look_up = |indices| i8x16_relaxed_swizzle(TABLE, indices);
    #[cfg(not(target_feature = "relaxed-simd"))]
    let look_up = |indices| i8x16_swizzle(TABLE, indices);
    let (low, high) = unsafe { nibbles(sub, j) };
    (look_up(low), look_up(high))
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
        Scales { scale: [scale; 2], min: [if has_min { load_halves(at.add(8)) } else { ZERO }; 2] }
    }
}

/// f16 d and dmin of the block times the 6-bit scale and min of the sub-block.
#[inline(always)]
unsafe fn k_scales(block: *const u8, at: *const u8) -> Scales {
    unsafe {
        let scale = f32x4_mul(load_halves(block), bytes_to_f32::<false>(at));
        let min = f32x4_mul(load_halves(block.add(8)), bytes_to_f32::<false>(at.add(4)));
        Scales { scale: [scale; 2], min: [f32x4_neg(min); 2] }
    }
}

/// f16 d of the block times the i8 scale of each half.
#[inline(always)]
unsafe fn half_scales(block: *const u8, at: *const u8) -> Scales {
    unsafe {
        let d = load_halves(block);
        let scale = [f32x4_mul(d, bytes_to_f32::<true>(at)), f32x4_mul(d, bytes_to_f32::<true>(at.add(4)))];
        Scales { scale, min: [ZERO; 2] }
    }
}

/// f16 d and dmin of the block times the 4-bit scale and min of each half, which share a byte.
#[inline(always)]
unsafe fn nibble_scales(block: *const u8, at: *const u8) -> Scales {
    unsafe {
        let (d, dmin) = (load_halves(block), f32x4_neg(load_halves(block.add(8))));
        let bytes = u16x8_load_extend_u8x8(at);
        let (scales, mins) = (v128_and(bytes, u16x8_splat(15)), u16x8_shr(bytes, 4));
        let low = |v| f32x4_convert_i32x4(u32x4_extend_low_u16x8(v));
        let high = |v| f32x4_convert_i32x4(u32x4_extend_high_u16x8(v));
        Scales {
            scale: [f32x4_mul(d, low(scales)), f32x4_mul(d, high(scales))],
            min: [f32x4_mul(dmin, low(mins)), f32x4_mul(dmin, high(mins))],
        }
    }
}

/// f16 d of the block times the i8 scale of the sub-block.
#[inline(always)]
unsafe fn signed_scale(block: *const u8, at: *const u8) -> Scales {
    let scale = unsafe { f32x4_mul(load_halves(block), bytes_to_f32::<true>(at)) };
    Scales { scale: [scale; 2], min: [ZERO; 2] }
}

macro_rules! quantized {
    ($name:ident, $mac:ty, $vectors:ident, $dots:expr, |$block:ident, $at:ident| $scales:expr, {$($constant:tt)*}) => {
        #[allow(non_camel_case_types)]
        pub struct $name;
        impl Quantized for $name {
            type Mac = $mac;
            const LAYOUT: BlockLayout = Format::$name.layout();
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

quantized!(Q4_0, UnsignedMac, nibbles, 8, |_block, at| plain_scales(at, false), {
    const OFFSET: i32 = 8;
});
quantized!(Q4_1, UnsignedMac, nibbles, 8, |_block, at| plain_scales(at, true), {
    const HAS_MIN: bool = true;
});
quantized!(Q5_0, UnsignedMac, five_bits, 4, |_block, at| plain_scales(at, false), {
    const OFFSET: i32 = 16;
});
quantized!(Q5_1, UnsignedMac, five_bits, 4, |_block, at| plain_scales(at, true), {
    const HAS_MIN: bool = true;
});
quantized!(Q8_0, SignedMac, signed_bytes, 8, |_block, at| plain_scales(at, false), {});
quantized!(Q2_K, UnsignedMac, two_bits, 4, |block, at| nibble_scales(block, at), {
    const HAS_MIN: bool = true;
    const HALVES: bool = true;
});
quantized!(Q3_K, UnsignedMac, three_bits, 4, |block, at| half_scales(block, at), {
    const OFFSET: i32 = 4;
    const HALVES: bool = true;
});
quantized!(Q4_K, UnsignedMac, nibbles, 8, |block, at| k_scales(block, at), {
    const HAS_MIN: bool = true;
});
quantized!(Q5_K, UnsignedMac, five_bits, 4, |block, at| k_scales(block, at), {
    const HAS_MIN: bool = true;
});
quantized!(Q6_K, UnsignedMac, six_bits, 2, |block, at| half_scales(block, at), {
    const OFFSET: i32 = 32;
    const HALVES: bool = true;
});
quantized!(IQ4_NL, SignedMac, codebook, 8, |_block, at| plain_scales(at, false), {});
quantized!(IQ4_XS, SignedMac, codebook, 8, |block, at| signed_scale(block, at), {});
