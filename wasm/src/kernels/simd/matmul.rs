//! Matrix times activations in register tiles of R row groups × T tokens.
//!
//! Decoding from RAM is bound by the number of memory streams, not by arithmetic: the groups of a matrix are cut into
//! PANELS equal parts that lie far apart and are walked together (measured elsewhere: 4 streams read 2–3 times what one
//! does). The tokens of a tile share each weight read; a tile never mixes sums of different tokens or rows, and each
//! sum runs over k in order, so tiles of any shape give the same bits.

use super::dense::{Bf16, DenseTile, F16, F32};
use super::exact_tile::ExactTile;
use super::lanes::ZERO;
use super::quantized::*;
#[cfg(target_feature = "relaxed-simd")]
use super::relaxed_tile::RelaxedTile;
use crate::block_format::{Format, GROUP_ROWS};
use crate::kernels::Activations;
use crate::matrix::Matrix;
use core::arch::wasm32::*;

/// The way of types whose quants are 0…63.
#[cfg(target_feature = "relaxed-simd")]
type UnsignedTile<Q> = RelaxedTile<Q>;
#[cfg(not(target_feature = "relaxed-simd"))]
type UnsignedTile<Q> = ExactTile<Q>;

/// Memory streams of a product: groups far apart that are walked together.
pub const PANELS: usize = 4;
/// Most tokens that share the unpacking of a sub-block. Their activations stay in the first-level cache.
pub const TILE_TOKENS: usize = 16;

/// Computes tiles of one weight type; a sum holds 4 rows of one token.
pub trait Tile {
    /// One token for PANELS groups.
    ///
    /// # Safety
    /// Each of `groups` points to a packed group of `a.cols` columns; the token is in `a`.
    unsafe fn gemv(groups: [*const u8; PANELS], a: &Activations, token: usize, sums: &mut [v128; PANELS]);

    /// Tokens `first_token` … + num_tokens ≤ TILE_TOKENS for one group.
    ///
    /// # Safety
    /// As `gemv`, for all of them.
    unsafe fn gemm(
        group: *const u8,
        a: &Activations,
        first_token: usize,
        num_tokens: usize,
        sums: &mut [v128; TILE_TOKENS],
    );
}

pub unsafe fn matmul(m: &Matrix, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    unsafe {
        match m.format {
            Format::F32 => walk::<DenseTile<F32>>(m, a, num_tokens, out, stride),
            Format::F16 => walk::<DenseTile<F16>>(m, a, num_tokens, out, stride),
            Format::BF16 => walk::<DenseTile<Bf16>>(m, a, num_tokens, out, stride),
            Format::Q4_0 => walk::<UnsignedTile<Q4_0>>(m, a, num_tokens, out, stride),
            Format::Q4_1 => walk::<UnsignedTile<Q4_1>>(m, a, num_tokens, out, stride),
            Format::Q5_0 => walk::<UnsignedTile<Q5_0>>(m, a, num_tokens, out, stride),
            Format::Q5_1 => walk::<UnsignedTile<Q5_1>>(m, a, num_tokens, out, stride),
            Format::Q8_0 => walk::<ExactTile<Q8_0>>(m, a, num_tokens, out, stride),
            Format::Q2_K => walk::<UnsignedTile<Q2_K>>(m, a, num_tokens, out, stride),
            Format::Q3_K => walk::<UnsignedTile<Q3_K>>(m, a, num_tokens, out, stride),
            Format::Q4_K => walk::<UnsignedTile<Q4_K>>(m, a, num_tokens, out, stride),
            Format::Q5_K => walk::<UnsignedTile<Q5_K>>(m, a, num_tokens, out, stride),
            Format::Q6_K => walk::<UnsignedTile<Q6_K>>(m, a, num_tokens, out, stride),
            Format::IQ4_NL => walk::<ExactTile<IQ4_NL>>(m, a, num_tokens, out, stride),
            Format::IQ4_XS => walk::<ExactTile<IQ4_XS>>(m, a, num_tokens, out, stride),
        }
    }
}

unsafe fn walk<K: Tile>(m: &Matrix, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    let num_groups = m.rows.div_ceil(GROUP_ROWS);
    let panel_groups = num_groups / PANELS;
    let bytes = m.group_bytes();
    let at = |group: usize| unsafe { m.data.add(group * bytes) };
    let target = |group: usize, token: usize| unsafe { out.add(token * stride + group * GROUP_ROWS) as *mut v128 };
    unsafe {
        if num_tokens == 1 {
            for index in 0..panel_groups {
                let groups = [index, index + panel_groups, index + 2 * panel_groups, index + 3 * panel_groups];
                let mut sums = [ZERO; PANELS];
                K::gemv(groups.map(at), a, 0, &mut sums);
                for (&group, &sum) in groups.iter().zip(&sums) {
                    v128_store(target(group, 0), sum);
                }
            }
        }
        let first_group = if num_tokens == 1 { panel_groups * PANELS } else { 0 };
        let mut sums = [ZERO; TILE_TOKENS];
        for first in (0..num_tokens).step_by(TILE_TOKENS) {
            let count = TILE_TOKENS.min(num_tokens - first);
            for index in first_group..num_groups {
                let group =
                    if index < panel_groups * PANELS { index % PANELS * panel_groups + index / PANELS } else { index };
                K::gemm(at(group), a, first, count, &mut sums);
                for t in 0..count {
                    v128_store(target(group, first + t), sums[t]);
                }
            }
        }
    }
}
