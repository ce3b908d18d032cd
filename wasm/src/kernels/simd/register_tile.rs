//! The walk of tiles that keep their sums in registers: R row groups × T tokens. The tokens of a tile share each weight
//! read; a tile never mixes sums of different tokens or rows, and each sum runs over k in order, so tiles of any shape
//! give the same bits.

use super::matmul::PANELS;
use crate::block_format::GROUP_ROWS;
use crate::kernels::Activations;
use crate::matrix::Matrix;
use core::arch::wasm32::*;

/// Tokens of a full tile; 2 row groups go with it: 8 sums, 4 inputs and 2 weights fill the 16 vector registers.
const TILE_TOKENS: usize = 4;

/// Computes tiles of one weight type: result[r][t] holds 4 rows of group r for token t.
pub trait RegisterTile {
    /// Tiles of one group only: for those whose code is long.
    const IS_LONG: bool = false;

    /// # Safety
    /// Each of `groups` points to a packed group of `a.cols` columns; tokens `first_token` … + T are in `a`.
    unsafe fn tile<const R: usize, const T: usize>(
        groups: [*const u8; R],
        a: &Activations,
        first_token: usize,
    ) -> [[v128; T]; R];
}

/// # Safety
/// As `matmul`.
pub unsafe fn walk<K: RegisterTile>(m: &Matrix, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    let num_groups = m.rows.div_ceil(GROUP_ROWS);
    let panel_groups = num_groups / PANELS;
    let panel_groups = if K::IS_LONG { 0 } else { panel_groups };
    for index in 0..panel_groups {
        let groups = [index, index + panel_groups, index + 2 * panel_groups, index + 3 * panel_groups];
        let mut token = 0;
        unsafe {
            while token + TILE_TOKENS <= num_tokens {
                store::<K, 2, TILE_TOKENS>(m, a, [groups[0], groups[1]], token, out, stride);
                store::<K, 2, TILE_TOKENS>(m, a, [groups[2], groups[3]], token, out, stride);
                token += TILE_TOKENS;
            }
            if token + 2 <= num_tokens {
                store::<K, 2, 2>(m, a, [groups[0], groups[1]], token, out, stride);
                store::<K, 2, 2>(m, a, [groups[2], groups[3]], token, out, stride);
                token += 2;
            }
            if token < num_tokens {
                store::<K, PANELS, 1>(m, a, groups, token, out, stride);
            }
        }
    }
    for group in panel_groups * PANELS..num_groups {
        let mut token = 0;
        while K::IS_LONG && token + TILE_TOKENS <= num_tokens {
            unsafe { store::<K, 1, TILE_TOKENS>(m, a, [group], token, out, stride) };
            token += TILE_TOKENS;
        }
        for token in token..num_tokens {
            unsafe { store::<K, 1, 1>(m, a, [group], token, out, stride) };
        }
    }
}

/// One tile, computed and written. Not inlined into `walk`: each shape is its own function, small enough for registers.
#[inline(never)]
unsafe fn store<K: RegisterTile, const R: usize, const T: usize>(
    m: &Matrix,
    a: &Activations,
    groups: [usize; R],
    first_token: usize,
    out: *mut f32,
    stride: usize,
) {
    unsafe {
        let bytes = m.group_bytes();
        let sums = K::tile::<R, T>(groups.map(|group| m.data.add(group * bytes)), a, first_token);
        for r in 0..R {
            for t in 0..T {
                let at = out.add((first_token + t) * stride + groups[r] * GROUP_ROWS);
                v128_store(at as *mut v128, sums[r][t]);
            }
        }
    }
}
