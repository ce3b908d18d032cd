//! Matrix times activations in register tiles of R row groups × T tokens.
//!
//! Decoding from RAM is bound by the number of memory streams, not by arithmetic: the groups of a matrix are cut into
//! PANELS equal parts that lie far apart and are walked together (measured elsewhere: 4 streams read 2–3 times what one
//! does). The tokens of a tile share each weight read; a tile never mixes sums of different tokens or rows, and each
//! sum runs over k in order, so tiles of any shape give the same bits.

use super::dense::{Bf16, DenseTile, F16, F32};
use super::lanes::{ZERO, multiply_add};
use super::mac::{Mac, QuantPointers};
use super::quantized::*;
use crate::block_format::{Format, GROUP_ROWS, SUB_ELEMENTS};
use crate::kernels::Activations;
use crate::matrix::Matrix;
use core::arch::wasm32::*;
use core::marker::PhantomData;

/// Memory streams of a one-token product.
const PANELS: usize = 4;
/// Tokens of a full tile; 2 row groups go with it: 8 sums, 4 inputs and 2 weights fill the 16 vector registers.
const TILE_TOKENS: usize = 4;

/// Computes tiles of one weight type: result[r][t] holds 4 rows of group r for token t.
pub trait Tile {
    /// # Safety
    /// Each of `groups` points to a packed group of `a.cols` columns; tokens `first_token` … + T are in `a`.
    unsafe fn tile<const R: usize, const T: usize>(
        groups: [*const u8; R],
        a: &Activations,
        first_token: usize,
    ) -> [[v128; T]; R];
}

pub unsafe fn matmul(m: &Matrix, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    unsafe {
        match m.format {
            Format::F32 => walk::<DenseTile<F32>>(m, a, num_tokens, out, stride),
            Format::F16 => walk::<DenseTile<F16>>(m, a, num_tokens, out, stride),
            Format::BF16 => walk::<DenseTile<Bf16>>(m, a, num_tokens, out, stride),
            Format::Q4_0 => walk::<QuantizedTile<Q4_0>>(m, a, num_tokens, out, stride),
            Format::Q4_1 => walk::<QuantizedTile<Q4_1>>(m, a, num_tokens, out, stride),
            Format::Q5_0 => walk::<QuantizedTile<Q5_0>>(m, a, num_tokens, out, stride),
            Format::Q5_1 => walk::<QuantizedTile<Q5_1>>(m, a, num_tokens, out, stride),
            Format::Q8_0 => walk::<QuantizedTile<Q8_0>>(m, a, num_tokens, out, stride),
            Format::Q2_K => walk::<QuantizedTile<Q2_K>>(m, a, num_tokens, out, stride),
            Format::Q3_K => walk::<QuantizedTile<Q3_K>>(m, a, num_tokens, out, stride),
            Format::Q4_K => walk::<QuantizedTile<Q4_K>>(m, a, num_tokens, out, stride),
            Format::Q5_K => walk::<QuantizedTile<Q5_K>>(m, a, num_tokens, out, stride),
            Format::Q6_K => walk::<QuantizedTile<Q6_K>>(m, a, num_tokens, out, stride),
            Format::IQ4_NL => walk::<QuantizedTile<IQ4_NL>>(m, a, num_tokens, out, stride),
            Format::IQ4_XS => walk::<QuantizedTile<IQ4_XS>>(m, a, num_tokens, out, stride),
        }
    }
}

unsafe fn walk<K: Tile>(m: &Matrix, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    let num_groups = m.rows.div_ceil(GROUP_ROWS);
    let panel_groups = num_groups / PANELS;
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
        for token in 0..num_tokens {
            unsafe { store::<K, 1, 1>(m, a, [group], token, out, stride) };
        }
    }
}

/// One tile, computed and written. Not inlined into `walk`: each shape is its own function, small enough for registers.
#[inline(never)]
unsafe fn store<K: Tile, const R: usize, const T: usize>(
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

pub struct QuantizedTile<Q>(PhantomData<Q>);

impl<Q: Quantized> Tile for QuantizedTile<Q> {
    #[inline(always)]
    unsafe fn tile<const R: usize, const T: usize>(
        groups: [*const u8; R],
        a: &Activations,
        first_token: usize,
    ) -> [[v128; T]; R] {
        let num_subs = a.cols / SUB_ELEMENTS;
        let mut sums = [[ZERO; T]; R];
        let mut x = [QuantPointers { quants8: a.quants8, quants16: a.quants16 }; T];
        for (t, x) in x.iter_mut().enumerate() {
            let at = (first_token + t) * a.cols;
            unsafe { *x = QuantPointers { quants8: a.quants8.add(at), quants16: a.quants16.add(at) } };
        }
        let mut blocks = groups;
        let mut sub = 0;
        while sub < num_subs {
            for inner in 0..Q::LAYOUT.num_subs {
                let offset = Q::LAYOUT.header_bytes + inner * Q::LAYOUT.sub_bytes();
                unsafe {
                    let subs = blocks.map(|block| block.add(offset));
                    let dots = sub_dots::<Q, R, T>(subs, &x, (sub + inner) * SUB_ELEMENTS);
                    for r in 0..R {
                        let scales = Q::scales(blocks[r], subs[r]);
                        for t in 0..T {
                            let block = (first_token + t) * num_subs + sub + inner;
                            sums[r][t] = scale_dots::<Q>(sums[r][t], dots[r][t], &scales, a, block);
                        }
                    }
                }
            }
            sub += Q::LAYOUT.num_subs;
            blocks = blocks.map(|block| unsafe { block.add(Q::LAYOUT.block_bytes()) });
        }
        sums
    }
}

/// Sums of a tile: for each group and token [low half, high half]; without HALVES all of it is in the first.
type Dots<const R: usize, const T: usize> = [[[v128; 2]; T]; R];

/// Integer dots of one sub-block, in 32-bit lanes. With 16-bit sums its four steps are written out: as a loop they stay
/// one, and V8 moves sums between registers and stack on every turn (Q4_0 1.4 × as fast, Q6_K 1.7 ×). The exact way needs
/// twice the registers and is faster as a loop (1.3 ×).
#[inline(always)]
unsafe fn sub_dots<Q: Quantized, const R: usize, const T: usize>(
    subs: [*const u8; R],
    x: &[QuantPointers; T],
    at: usize,
) -> Dots<R, T> {
    let mut wide = [[[ZERO; 2]; T]; R];
    let mut narrow = [[[ZERO; 2]; T]; R];
    unsafe {
        if Q::Mac::NARROW {
            add_vectors::<Q, R, T>(subs, x, at, 0, &mut wide, &mut narrow);
            add_vectors::<Q, R, T>(subs, x, at, 1, &mut wide, &mut narrow);
            add_vectors::<Q, R, T>(subs, x, at, 2, &mut wide, &mut narrow);
            add_vectors::<Q, R, T>(subs, x, at, 3, &mut wide, &mut narrow);
        } else {
            for j in 0..4 {
                add_vectors::<Q, R, T>(subs, x, at, j, &mut wide, &mut narrow);
            }
        }
    }
    wide
}

/// Adds vectors j and j + 4, and widens the 16-bit sums when they are as full as they may get.
#[inline(always)]
unsafe fn add_vectors<Q: Quantized, const R: usize, const T: usize>(
    subs: [*const u8; R],
    x: &[QuantPointers; T],
    at: usize,
    j: usize,
    wide: &mut Dots<R, T>,
    narrow: &mut Dots<R, T>,
) {
    let high = if Q::HALVES { 1 } else { 0 };
    let vectors_per_widening = if Q::HALVES { Q::DOTS_PER_WIDENING } else { Q::DOTS_PER_WIDENING / 2 };
    unsafe {
        let weights = subs.map(|sub| {
            let (low, high) = Q::vectors(sub, j);
            (Q::Mac::weights(low), Q::Mac::weights(high))
        });
        for t in 0..T {
            let low_input = Q::Mac::input(&x[t], at + 4 * j);
            let high_input = Q::Mac::input(&x[t], at + 16 + 4 * j);
            for r in 0..R {
                let sum = if Q::Mac::NARROW { &mut narrow[r][t] } else { &mut wide[r][t] };
                sum[0] = Q::Mac::add(sum[0], weights[r].0, low_input);
                sum[high] = Q::Mac::add(sum[high], weights[r].1, high_input);
            }
        }
    }
    if Q::Mac::NARROW && (j + 1) % vectors_per_widening == 0 {
        for r in 0..R {
            for t in 0..T {
                for half in 0..=high {
                    let widened = i32x4_extadd_pairwise_i16x8(narrow[r][t][half]);
                    wide[r][t][half] = i32x4_add(wide[r][t][half], widened);
                    narrow[r][t][half] = ZERO;
                }
            }
        }
    }
}

/// sum + scale · activation scale · (dot − offset · Σ) + min · activation scale · Σ
#[inline(always)]
unsafe fn scale_dots<Q: Quantized>(sum: v128, dots: [v128; 2], scales: &Scales, a: &Activations, block: usize) -> v128 {
    unsafe {
        let act_scale = v128_load32_splat(a.scales.add(block) as *const u32);
        let sums = a.sums.add(2 * block);
        let mut sum = sum;
        if Q::HALVES {
            for half in 0..2 {
                let dot = i32x4_sub(dots[half], i32x4_splat(Q::OFFSET * *sums.add(half)));
                sum = multiply_add(f32x4_convert_i32x4(dot), f32x4_mul(scales.scale[half], act_scale), sum);
                if Q::HAS_MIN {
                    let scaled_sum = f32x4_mul(f32x4_splat(*sums.add(half) as f32), act_scale);
                    sum = multiply_add(scales.min[half], scaled_sum, sum);
                }
            }
        } else {
            let mut dot = dots[0];
            if Q::OFFSET != 0 {
                dot = i32x4_sub(dot, i32x4_splat(Q::OFFSET * (*sums + *sums.add(1))));
            }
            sum = multiply_add(f32x4_convert_i32x4(dot), f32x4_mul(scales.scale[0], act_scale), sum);
        }
        if Q::HAS_MIN && !Q::HALVES {
            let scaled_sum = v128_load32_splat(a.scaled_sums.add(block) as *const u32);
            sum = multiply_add(scales.min[0], scaled_sum, sum);
        }
        sum
    }
}
