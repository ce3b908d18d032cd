//! Tiles of F32, F16 and BF16 weights, multiplied in f32 with unrounded activations.

use super::lanes::{ZERO, load_bf16, load_halves, multiply_add};
use super::register_tile::RegisterTile;
use crate::kernels::Activations;
use core::arch::wasm32::*;
use core::marker::PhantomData;

pub trait Dense {
    const BYTES: usize;
    /// Four rows of one k.
    ///
    /// # Safety
    /// 4 · BYTES are readable.
    unsafe fn load(from: *const u8) -> v128;
}

pub struct F32;
pub struct F16;
pub struct Bf16;

impl Dense for F32 {
    const BYTES: usize = 4;
    #[inline(always)]
    unsafe fn load(from: *const u8) -> v128 {
        unsafe { v128_load(from as *const v128) }
    }
}

impl Dense for F16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load(from: *const u8) -> v128 {
        unsafe { load_halves(from) }
    }
}

impl Dense for Bf16 {
    const BYTES: usize = 2;
    #[inline(always)]
    unsafe fn load(from: *const u8) -> v128 {
        unsafe { load_bf16(from) }
    }
}

pub struct DenseTile<D>(PhantomData<D>);

impl<D: Dense> RegisterTile for DenseTile<D> {
    #[inline(always)]
    unsafe fn tile<const R: usize, const T: usize>(
        groups: [*const u8; R],
        a: &Activations,
        first_token: usize,
    ) -> [[v128; T]; R] {
        let mut sums = [[ZERO; T]; R];
        for k in 0..a.cols {
            unsafe {
                let weights = groups.map(|group| D::load(group.add(k * 4 * D::BYTES)));
                for t in 0..T {
                    let x = v128_load32_splat(a.values.add((first_token + t) * a.cols + k) as *const u32);
                    for r in 0..R {
                        sums[r][t] = multiply_add(weights[r], x, sums[r][t]);
                    }
                }
            }
        }
        sums
    }
}
