//! What a tile needs of each quantised type: its weight vectors and its scales. See `block_format.rs` for the bytes.

use super::lanes::{ZERO, multiply_add};
use crate::block_format::{BlockLayout, Format, IQ4_CODEBOOK};
use crate::kernels::ActBlock;
use core::arch::wasm32::*;

/// Scales of 4 rows: an element is `scale[half] · (quant − OFFSET) + min[half]`.
pub struct Scales {
    pub scale: [v128; 2],
    pub min: [v128; 2],
}

pub trait Quantized {
    const LAYOUT: BlockLayout;
    /// Subtracted from every quant as it is stored, a power of two or 0. Not always the format's own offset: it keeps the
    /// sum of a (half) sub-block in 16 bits, see `relaxed_tile.rs`; `Scales::min` makes up for the difference.
    const OFFSET: u32 = 0;
    /// Whether `Scales::min` is used.
    const HAS_MIN: bool = false;
    /// Each 16 elements have their own scale and min.
    const HALVES: bool = false;

    /// Vectors `j` and `j + 4` of the sub-block at `sub` (j < 4), as stored.
    ///
    /// # Safety
    /// `sub` points to a whole sub-block.
    unsafe fn vectors(sub: *const u8, j: usize, c: &Constants) -> (v128, v128);

    /// Whether one token goes half a sub-block at a time; measured, see `gemv_by_halves`.
    #[cfg(target_feature = "relaxed-simd")]
    const BY_HALVES: bool = false;

    /// Vectors 2 · half, 2 · half + 4, 2 · half + 1 and 2 · half + 5, for types without `HALVES`.
    ///
    /// # Safety
    /// As `vectors`.
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    unsafe fn half_vectors(sub: *const u8, half: usize, c: &Constants) -> [v128; 4] {
        // Of nibbles alone, the later vectors are what the first ones are further on.
        unsafe { joined(Self::vectors(sub.add(32 * half), 0, c), Self::vectors(sub.add(32 * half), 1, c)) }
    }

    /// # Safety
    /// `block` points to a whole block, `sub` to a sub-block of it.
    unsafe fn scales(block: *const u8, sub: *const u8, c: &Constants) -> Scales;
}

/// sum + weight scale · activation scale · dot + min · activation sum. Every tile adds in this way, so tiles of any shape
/// give the same bits. The scales are multiplied first, because the dot is the last to be known.
#[inline(always)]
pub unsafe fn add_scaled<Q: Quantized>(sum: v128, dots: [v128; 2], scales: &Scales, x: *const ActBlock) -> v128 {
    let splat = |value: *const f32| unsafe { v128_load32_splat(value as *const u32) };
    unsafe {
        let act_scale = splat(&raw const (*x).scale);
        let add = |sum: v128, half: usize| {
            multiply_add(f32x4_convert_i32x4(dots[half]), f32x4_mul(scales.scale[half], act_scale), sum)
        };
        let mut sum = add(sum, 0);
        if Q::HALVES {
            sum = add(sum, 1);
        }
        if Q::HAS_MIN && Q::HALVES {
            sum = multiply_add(splat(&raw const (*x).half_sums[0]), scales.min[0], sum);
            sum = multiply_add(splat(&raw const (*x).half_sums[1]), scales.min[1], sum);
        } else if Q::HAS_MIN {
            sum = multiply_add(splat(&raw const (*x).sum), scales.min[0], sum);
        }
        sum
    }
}

/// Constants of the inner loops, read from memory: V8 makes a literal anew, in three instructions, at every use.
pub struct Constants {
    low_nibbles: v128,
    half_bits: v128,
    half_factor: v128,
}

#[repr(align(16))]
struct ConstantTable([[u32; 4]; 3]);
/// Low nibbles; what a half shifted to a float leaves valid; 2^112.
static CONSTANTS: ConstantTable = ConstantTable([[0x0f0f_0f0f; 4], [0x8fff_e000; 4], [(112 + 127) << 23; 4]]);

impl Constants {
    #[inline(always)]
    pub fn read() -> Constants {
        // SAFETY: the table has three vectors; volatile, or the compiler would put the literals back.
        let at = |i: usize| unsafe { (&raw const CONSTANTS.0[i] as *const v128).read_volatile() };
        Constants { low_nibbles: at(0), half_bits: at(1), half_factor: at(2) }
    }

    /// As `lanes::load_halves`.
    #[inline(always)]
    unsafe fn halves(&self, from: *const u8) -> v128 {
        let halves = unsafe { i32x4_load_extend_i16x4(from as *const i16) };
        f32x4_mul(v128_and(i32x4_shl(halves, 13), self.half_bits), self.half_factor)
    }
}

#[inline(always)]
unsafe fn nibbles(sub: *const u8, j: usize, c: &Constants) -> (v128, v128) {
    let bytes = unsafe { v128_load(sub.add(16 * j) as *const v128) };
    (v128_and(bytes, c.low_nibbles), v128_and(u16x8_shr(bytes, 4), c.low_nibbles))
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
unsafe fn two_bits(sub: *const u8, j: usize, _: &Constants) -> (v128, v128) {
    unsafe { bit_pairs(sub, j, 0) }
}

#[inline(always)]
unsafe fn three_bits(sub: *const u8, j: usize, _: &Constants) -> (v128, v128) {
    unsafe { join(bit_pairs(sub, j, 0), single_bits(sub.add(32), j, 2)) }
}

#[inline(always)]
unsafe fn five_bits(sub: *const u8, j: usize, c: &Constants) -> (v128, v128) {
    unsafe { join(nibbles(sub, j, c), single_bits(sub.add(64), j, 4)) }
}

#[inline(always)]
unsafe fn six_bits(sub: *const u8, j: usize, c: &Constants) -> (v128, v128) {
    unsafe { join(nibbles(sub, j, c), bit_pairs(sub.add(64), j, 4)) }
}

#[inline(always)]
unsafe fn signed_bytes(sub: *const u8, j: usize, _: &Constants) -> (v128, v128) {
    unsafe { (v128_load(sub.add(16 * j) as *const v128), v128_load(sub.add(64 + 16 * j) as *const v128)) }
}

/// Indices below 16, on which both swizzles agree, to the signed weights they stand for.
#[inline(always)]
unsafe fn codebook(sub: *const u8, j: usize, c: &Constants) -> (v128, v128) {
    // SAFETY: a v128 is any 16 bytes.
    const TABLE: v128 = unsafe { core::mem::transmute(IQ4_CODEBOOK) };
    #[cfg(target_feature = "relaxed-simd")]
    let look_up = |indices| i8x16_relaxed_swizzle(TABLE, indices);
    #[cfg(not(target_feature = "relaxed-simd"))]
    let look_up = |indices| i8x16_swizzle(TABLE, indices);
    let (low, high) = unsafe { nibbles(sub, j, c) };
    (look_up(low), look_up(high))
}

#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
fn joined(a: (v128, v128), b: (v128, v128)) -> [v128; 4] {
    [a.0, a.1, b.0, b.1]
}

/// `half_vectors` of the 5-bit types: the fifth bits of a half are shifted to where those of the first one are.
#[cfg(target_feature = "relaxed-simd")]
#[inline(always)]
unsafe fn five_bits_of_half(sub: *const u8, half: usize, c: &Constants) -> [v128; 4] {
    unsafe {
        let bits = u16x8_shr(v128_load(sub.add(64) as *const v128), 2 * half as u32);
        let vectors =
            |j: usize| join(nibbles(sub.add(32 * half), j, c), (moved(bits, 1, j, 4), moved(bits, 1, j + 4, 4)));
        joined(vectors(0), vectors(1))
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

/// One f16 scale for each row.
#[inline(always)]
unsafe fn plain_scales(at: *const u8, c: &Constants) -> Scales {
    let scale = unsafe { c.halves(at) };
    Scales { scale: [scale; 2], min: [ZERO; 2] }
}

/// One f16 scale and one f16 min for each row.
#[inline(always)]
unsafe fn min_scales(at: *const u8, c: &Constants) -> Scales {
    let min = unsafe { c.halves(at.add(8)) };
    unsafe { Scales { min: [min; 2], ..plain_scales(at, c) } }
}

/// For quants of 0…31 whose format has no offset, but from which 16 is taken.
#[inline(always)]
fn centered(scales: Scales) -> Scales {
    let min = multiply_add(scales.scale[0], f32x4_splat(16.0), scales.min[0]);
    Scales { min: [min; 2], ..scales }
}

/// f16 d and dmin of the block times the 6-bit scale and min of the sub-block.
#[inline(always)]
unsafe fn k_scales(block: *const u8, at: *const u8, c: &Constants) -> Scales {
    unsafe {
        let scale = f32x4_mul(c.halves(block), bytes_to_f32::<false>(at));
        let min = f32x4_mul(c.halves(block.add(8)), bytes_to_f32::<false>(at.add(4)));
        Scales { scale: [scale; 2], min: [f32x4_neg(min); 2] }
    }
}

/// f16 d of the block times the i8 scale of each half.
#[inline(always)]
unsafe fn half_scales(block: *const u8, at: *const u8, c: &Constants) -> Scales {
    unsafe {
        let d = c.halves(block);
        let scale = [f32x4_mul(d, bytes_to_f32::<true>(at)), f32x4_mul(d, bytes_to_f32::<true>(at.add(4)))];
        Scales { scale, min: [ZERO; 2] }
    }
}

/// f16 d and dmin of the block times the 4-bit scale and min of each half, which share a byte.
#[inline(always)]
unsafe fn nibble_scales(block: *const u8, at: *const u8, c: &Constants) -> Scales {
    unsafe {
        let (d, dmin) = (c.halves(block), f32x4_neg(c.halves(block.add(8))));
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
unsafe fn signed_scale(block: *const u8, at: *const u8, c: &Constants) -> Scales {
    let scale = unsafe { f32x4_mul(c.halves(block), bytes_to_f32::<true>(at)) };
    Scales { scale: [scale; 2], min: [ZERO; 2] }
}

macro_rules! quantized {
    ($name:ident, $vectors:ident, |$block:ident, $at:ident, $c:ident| $scales:expr, {$($item:tt)*}) => {
        #[allow(non_camel_case_types)]
        pub struct $name;
        impl Quantized for $name {
            const LAYOUT: BlockLayout = Format::$name.layout();
            $($item)*
            #[inline(always)]
            unsafe fn vectors(sub: *const u8, j: usize, c: &Constants) -> (v128, v128) {
                unsafe { $vectors(sub, j, c) }
            }
            #[inline(always)]
            unsafe fn scales($block: *const u8, sub: *const u8, $c: &Constants) -> Scales {
                unsafe {
                    let $at = sub.add(Self::LAYOUT.low_bytes + Self::LAYOUT.high_bytes);
                    $scales
                }
            }
        }
    };
}

quantized!(Q4_0, nibbles, |_block, at, c| plain_scales(at, c), {
    const OFFSET: u32 = 8;
});
quantized!(Q4_1, nibbles, |_block, at, c| min_scales(at, c), {
    const HAS_MIN: bool = true;
});
quantized!(Q5_0, five_bits, |_block, at, c| plain_scales(at, c), {
    const OFFSET: u32 = 16;
});
quantized!(Q5_1, five_bits, |_block, at, c| centered(min_scales(at, c)), {
    const OFFSET: u32 = 16;
    const HAS_MIN: bool = true;
});
quantized!(Q2_K, two_bits, |block, at, c| nibble_scales(block, at, c), {
    const HAS_MIN: bool = true;
    const HALVES: bool = true;
});
quantized!(Q3_K, three_bits, |block, at, c| half_scales(block, at, c), {
    const OFFSET: u32 = 4;
    const HALVES: bool = true;
});
quantized!(Q4_K, nibbles, |block, at, c| k_scales(block, at, c), {
    #[cfg(target_feature = "relaxed-simd")]
    const BY_HALVES: bool = true;
    const HAS_MIN: bool = true;
});
quantized!(Q5_K, five_bits, |block, at, c| centered(k_scales(block, at, c)), {
    #[cfg(target_feature = "relaxed-simd")]
    const BY_HALVES: bool = true;
    #[cfg(target_feature = "relaxed-simd")]
    #[inline(always)]
    unsafe fn half_vectors(sub: *const u8, half: usize, c: &Constants) -> [v128; 4] {
        unsafe { five_bits_of_half(sub, half, c) }
    }
    const OFFSET: u32 = 16;
    const HAS_MIN: bool = true;
});
quantized!(Q6_K, six_bits, |block, at, c| half_scales(block, at, c), {
    const OFFSET: u32 = 32;
    const HALVES: bool = true;
});

// Signed bytes: only for `ExactTile`.
quantized!(Q8_0, signed_bytes, |_block, at, c| plain_scales(at, c), {});
quantized!(IQ4_NL, codebook, |_block, at, c| plain_scales(at, c), {});
quantized!(IQ4_XS, codebook, |block, at, c| signed_scale(block, at, c), {});
