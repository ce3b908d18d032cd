//! Small vector functions that the kernels share.

use core::arch::wasm32::*;

pub const ZERO: v128 = f32x4(0.0, 0.0, 0.0, 0.0);

/// a · b + sum; one rounding where relaxed SIMD gives a fused instruction.
#[inline(always)]
pub fn multiply_add(a: v128, b: v128, sum: v128) -> v128 {
    #[cfg(target_feature = "relaxed-simd")]
    return f32x4_relaxed_madd(a, b, sum);
    #[cfg(not(target_feature = "relaxed-simd"))]
    return f32x4_add(f32x4_mul(a, b), sum);
}

/// Four consecutive halves in memory, to f32; as `float16::f16_to_f32`. The shift leaves copies of the sign in bits 28 to
/// 30, where the mask takes them away.
///
/// # Safety
/// 8 bytes are readable.
#[inline(always)]
pub unsafe fn load_halves(from: *const u8) -> v128 {
    const TWO_POW_112: f32 = f32::from_bits((112 + 127) << 23);
    let halves = unsafe { i32x4_load_extend_i16x4(from as *const i16) };
    let bits = v128_and(i32x4_shl(halves, 13), u32x4_splat(0x8fff_e000));
    f32x4_mul(bits, f32x4_splat(TWO_POW_112))
}

/// As `load_halves`, for values many of which are below 2^-14, subnormal in f16, as the factors of 256-types are. Scaled as
/// there they would be subnormal in f32, and multiplying one takes Intel's processors some 150 cycles.
///
/// # Safety
/// 8 bytes are readable.
#[inline(always)]
pub unsafe fn load_small_halves(from: *const u8) -> v128 {
    const EXPONENT_ONE: u32 = 1 << 23;
    let halves = unsafe { i32x4_load_extend_i16x4(from as *const i16) };
    let magnitude = v128_and(i32x4_shl(halves, 13), u32x4_splat(0x0fff_e000));
    let normal = i32x4_add(magnitude, u32x4_splat(112 * EXPONENT_ONE));
    // With an exponent, as 2^-14 + the value.
    let subnormal = f32x4_sub(i32x4_add(normal, u32x4_splat(EXPONENT_ONE)), u32x4_splat(113 * EXPONENT_ONE));
    let result = v128_bitselect(subnormal, normal, i32x4_lt(magnitude, u32x4_splat(EXPONENT_ONE)));
    v128_or(result, v128_and(halves, u32x4_splat(0x8000_0000)))
}

/// Four consecutive bfloat16 values in memory, to f32.
///
/// # Safety
/// 8 bytes are readable.
#[inline(always)]
pub unsafe fn load_bf16(from: *const u8) -> v128 {
    i32x4_shl(unsafe { i32x4_load_extend_u16x4(from as *const u16) }, 16)
}

/// Sum of the four lanes, in a fixed order.
#[inline(always)]
pub fn sum_lanes(v: v128) -> f32 {
    (f32x4_extract_lane::<0>(v) + f32x4_extract_lane::<2>(v))
        + (f32x4_extract_lane::<1>(v) + f32x4_extract_lane::<3>(v))
}

/// Largest lane; NaN if any lane is.
#[inline(always)]
pub fn max_lanes(v: v128) -> f32 {
    let pairs = f32x4_max(v, i32x4_shuffle::<2, 3, 0, 1>(v, v));
    f32x4_extract_lane::<0>(f32x4_max(pairs, i32x4_shuffle::<1, 0, 3, 2>(pairs, pairs)))
}
