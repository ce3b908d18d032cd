//! Tiles of F32, F16 and BF16 weights, multiplied in f32 with unrounded activations.

use super::lanes::{ZERO, load_bf16, load_halves, multiply_add};
use super::matmul::{PANELS, TILE_TOKENS, Tile};
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

impl<D: Dense> Tile for DenseTile<D> {
    #[inline(never)]
    unsafe fn gemv(groups: [*const u8; PANELS], a: &Activations, token: usize, sums: &mut [v128; PANELS]) {
        *sums = [ZERO; PANELS];
        let x = unsafe { a.values.add(token * a.cols) };
        for k in 0..a.cols {
            unsafe {
                let x = v128_load32_splat(x.add(k) as *const u32);
                for r in 0..PANELS {
                    sums[r] = multiply_add(D::load(groups[r].add(k * 4 * D::BYTES)), x, sums[r]);
                }
            }
        }
    }

    #[inline(never)]
    unsafe fn gemm(
        group: *const u8,
        a: &Activations,
        first_token: usize,
        num_tokens: usize,
        sums: &mut [v128; TILE_TOKENS],
    ) {
        sums[..num_tokens].fill(ZERO);
        for k in 0..a.cols {
            unsafe {
                let weights = D::load(group.add(k * 4 * D::BYTES));
                for (t, sum) in sums[..num_tokens].iter_mut().enumerate() {
                    let x = v128_load32_splat(a.values.add((first_token + t) * a.cols + k) as *const u32);
                    *sum = multiply_add(weights, x, *sum);
                }
            }
        }
    }
}
