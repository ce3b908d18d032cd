//! Integer multiply-accumulate of one weight vector (4 rows × 4 k) with 4 activations, two ways.
//!
//! The relaxed dot multiplies signed bytes of its first operand (activations, |x| ≤ 127) with bytes 0…127 of its second
//! (weights without their offset), the only range on which every engine agrees, and adds pairs into 16 bits. How many
//! such dots fit 16 bits depends on the weight's width; see `Quantized::DOTS_PER_WIDENING`. The exact way splits bytes
//! into even and odd 16-bit lanes and is right for any signed byte.

use core::arch::wasm32::*;

/// Activations of one token in both forms.
#[derive(Clone, Copy)]
pub struct QuantPointers {
    #[cfg_attr(not(target_feature = "relaxed-simd"), allow(dead_code, reason = "only the relaxed dot reads bytes"))]
    pub quants8: *const i8,
    pub quants16: *const i16,
}

pub trait Mac {
    /// Sums are 16-bit lanes (row, pair) that must be widened; otherwise 32-bit lanes, one for each row.
    const NARROW: bool;
    /// A weight vector made ready, shared by the tokens of a tile.
    type Weights: Copy;
    type Input: Copy;

    fn weights(bytes: v128) -> Self::Weights;
    /// Activations 4·vector … 4·vector + 3 after `at` (an element index), for all rows.
    ///
    /// # Safety
    /// The activations are readable there.
    unsafe fn input(x: &QuantPointers, at: usize) -> Self::Input;
    fn add(sum: v128, weights: Self::Weights, input: Self::Input) -> v128;
}

/// `i16x8.relaxed_dot_i8x16_i7x16_s`: one instruction on every engine, with deferred widening.
#[cfg(target_feature = "relaxed-simd")]
pub struct RelaxedDot;

#[cfg(target_feature = "relaxed-simd")]
impl Mac for RelaxedDot {
    const NARROW: bool = true;
    type Weights = v128;
    type Input = v128;

    #[inline(always)]
    fn weights(bytes: v128) -> v128 {
        bytes
    }
    #[inline(always)]
    unsafe fn input(x: &QuantPointers, at: usize) -> v128 {
        unsafe { v128_load32_splat(x.quants8.add(at) as *const u32) }
    }
    #[inline(always)]
    fn add(sum: v128, weights: v128, input: v128) -> v128 {
        i16x8_add(sum, i16x8_relaxed_dot_i8x16_i7x16(input, weights))
    }
}

/// `i32x4.dot_i16x8_s` on even and odd bytes; SIGNED tells how a byte is extended.
pub struct ExactDot<const SIGNED: bool>;

impl<const SIGNED: bool> Mac for ExactDot<SIGNED> {
    const NARROW: bool = false;
    type Weights = (v128, v128);
    type Input = (v128, v128);

    #[inline(always)]
    fn weights(bytes: v128) -> (v128, v128) {
        if SIGNED {
            (i16x8_shr(i16x8_shl(bytes, 8), 8), i16x8_shr(bytes, 8))
        } else {
            (v128_and(bytes, u16x8_splat(0x00ff)), u16x8_shr(bytes, 8))
        }
    }
    #[inline(always)]
    unsafe fn input(x: &QuantPointers, at: usize) -> (v128, v128) {
        unsafe {
            let pairs = x.quants16.add(at) as *const u32;
            (v128_load32_splat(pairs), v128_load32_splat(pairs.add(1)))
        }
    }
    #[inline(always)]
    fn add(sum: v128, weights: (v128, v128), input: (v128, v128)) -> v128 {
        let even = i32x4_dot_i16x8(weights.0, input.0);
        i32x4_add(i32x4_add(sum, even), i32x4_dot_i16x8(weights.1, input.1))
    }
}

/// The way of types whose weights are signed bytes, which do not fit the relaxed dot's 0…127.
pub type SignedMac = ExactDot<true>;

/// The way of types whose weights are 0…63.
#[cfg(target_feature = "relaxed-simd")]
pub type UnsignedMac = RelaxedDot;
#[cfg(not(target_feature = "relaxed-simd"))]
pub type UnsignedMac = ExactDot<false>;
