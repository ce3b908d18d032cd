//! Products of several tokens by the relaxed 8-bit dot: tiles of two groups and four tokens, whose eight sums stay in
//! registers. Vectors of a sub-block are unpacked once for all tokens, inputs are laid out once for all groups, and what a tile
//! reads lies at constant offsets from two addresses: the loop has nothing but loads, dots and additions.

use super::lanes::{ZERO, multiply_add};
use super::matmul::PANELS;
use super::quantized::{Constants, Quantized, SpanSum, splat};
use super::relaxed_tile::{SubScales, add_dot, add_dots, centers, splats, walk_rest};
use crate::block_format::{GROUP_ROWS, SUB_ELEMENTS};
use crate::kernels::{ActBlock, Activations};
use crate::matrix::Matrix;
use core::arch::wasm32::*;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::Range;

/// Most tokens that share the unpacking of a sub-block, and sub-blocks of that many that are laid out at once: their inputs
/// stay in the nearest caches. Fewer tokens have room for more, so that a group is read in longer pieces: from RAM that is
/// up to 1.7 times as fast. 256-types have 8 sub-blocks in a span.
pub const TILE_TOKENS: usize = 32;
/// Tokens of a tile that fills the registers.
pub const MANY_TOKENS: usize = 4;
/// Groups of a tile, from two panels.
const R: usize = 2;
const TILE_SUBS: usize = 8;

/// The inputs of a tile's tokens for one sub-block, [sub-block][token], each value in all the lanes that it meets, so that
/// it is one load: V8 takes an instruction more for the address of a load that splats.
struct Inputs<Q>(PhantomData<Q>);

/// Of any type.
const INPUTS_LEN_MAX: usize = 8 + 1 + 2 + 2;

impl<Q: Quantized> Inputs<Q> {
    const NUM_PARTS: usize = if Q::HALVES { 2 } else { 1 };
    const SCALE: usize = 8;
    const CENTERS: usize = Self::SCALE + 1;
    const MINS: usize = Self::CENTERS + if Q::CENTER == 0 { 0 } else { Self::NUM_PARTS };
    /// Vectors of one token.
    const LEN: usize = Self::MINS + if Q::HAS_MIN { Self::NUM_PARTS } else { 0 };

    /// # Safety
    /// `to` has room for `LEN` vectors.
    #[inline(always)]
    unsafe fn lay_out(x: *const ActBlock, to: *mut v128) {
        unsafe {
            for (i, quants) in splats(x).into_iter().enumerate() {
                v128_store(to.add(i), quants);
            }
            v128_store(to.add(Self::SCALE), splat(&raw const (*x).scale));
            for part in 0..Self::NUM_PARTS {
                if Q::CENTER != 0 {
                    v128_store(to.add(Self::CENTERS + part), centers::<Q>(x, part));
                }
                if Q::HAS_MIN {
                    let sum = if Q::HALVES { &raw const (*x).half_sums[part] } else { &raw const (*x).sum };
                    v128_store(to.add(Self::MINS + part), splat(sum));
                }
            }
        }
    }
}

/// Several tokens: a few sub-blocks of all of them are laid out, then every group multiplies its part of these. What a group
/// has so far waits in `out`, so a sum is taken in the order of k, as for one token.
/// # Safety
/// As `matmul`, for at most `TILE_TOKENS` tokens, a multiple of `MANY_TOKENS`.
pub unsafe fn walk_many<Q: Quantized>(m: &Matrix, a: &Activations, tokens: Range<usize>, out: *mut f32, stride: usize) {
    let panel_groups = m.rows.div_ceil(GROUP_ROWS) / PANELS;
    let group_bytes = m.group_bytes();
    let num_subs = a.cols / SUB_ELEMENTS;
    let mut inputs = [const { MaybeUninit::<v128>::uninit() }; TILE_TOKENS * TILE_SUBS * INPUTS_LEN_MAX];
    let laid_out = TILE_SUBS * (TILE_TOKENS / tokens.len());
    let part_subs = laid_out.min(Q::LAYOUT.num_subs(a.cols));
    for first_sub in (0..num_subs).step_by(laid_out) {
        let end = num_subs.min(first_sub + laid_out);
        let mut to = inputs.as_mut_ptr() as *mut v128;
        unsafe {
            for sub in first_sub..end {
                for token in tokens.clone() {
                    Inputs::<Q>::lay_out(a.blocks.add(token * num_subs + sub), to);
                    to = to.add(Inputs::<Q>::LEN);
                }
            }
            let at = |group: usize| m.data.add(group * group_bytes);
            let to = |group: usize| out.add(tokens.start * stride + group * GROUP_ROWS);
            for index in 0..panel_groups {
                for panel in (0..PANELS).step_by(2) {
                    let groups = [0, 1].map(|i| index + (panel + i) * panel_groups);
                    let mut inputs = inputs.as_ptr() as *const v128;
                    for start in (first_sub..end).step_by(part_subs) {
                        let subs = start..end.min(start + part_subs);
                        let part = Part { a, subs: subs.clone(), tokens: tokens.clone(), inputs, stride };
                        gemm::<Q>(groups.map(at), &part, groups.map(to));
                        inputs = inputs.add(subs.len() * tokens.len() * Inputs::<Q>::LEN);
                    }
                }
            }
        }
    }
    unsafe { walk_rest::<Q>(m, a, tokens, out, stride) };
}

/// Some sub-blocks of a tile's tokens, within one span.
struct Part<'a> {
    a: &'a Activations,
    subs: Range<usize>,
    tokens: Range<usize>,
    /// [sub-block][token] `Inputs`.
    inputs: *const v128,
    /// Of the results of a token.
    stride: usize,
}

/// Two groups times a part: the vectors of a sub-block are unpacked once, and tiles of 4 tokens pass over them.
#[inline(never)]
unsafe fn gemm<Q: Quantized>(groups: [*const u8; R], part: &Part, out: [*mut f32; R]) {
    let Part { a, ref subs, ref tokens, mut inputs, stride } = *part;
    let num_subs = a.cols / SUB_ELEMENTS;
    let num_tokens = tokens.len();
    let (is_first, is_last) = (subs.start == 0, subs.end == num_subs);
    let (span, first_sub) = Q::LAYOUT.offsets(subs.start, a.cols);
    let constants = Constants::read();
    let never = core::hint::black_box(0);
    // Unknown to the compiler, which would call a function to fill the sums.
    let zero = core::hint::black_box(ZERO);
    let mut sums = [const { MaybeUninit::<[SpanSum; R]>::uninit() }; TILE_TOKENS];
    let mut totals = [const { MaybeUninit::<[v128; R]>::uninit() }; TILE_TOKENS];
    let (sums, totals) = (sums.as_mut_ptr() as *mut [SpanSum; R], totals.as_mut_ptr() as *mut [v128; R]);
    unsafe {
        let at = |t: usize, r: usize| out[r].add(t * stride) as *mut v128;
        // All loads before all stores: rows that lie 4 KiB apart would wait for each other.
        for t in 0..num_tokens {
            let so_far = core::array::from_fn(|r| if is_first { zero } else { v128_load(at(t, r)) });
            for r in 0..R {
                (*sums.add(t))[r].scaled = if Q::LAYOUT.is_row { so_far[r] } else { zero };
                if Q::HAS_MIN {
                    (*sums.add(t))[r].min = zero;
                }
            }
            totals.add(t).write(so_far);
        }
        let mut data = groups.map(|group| group.add(first_sub));
        for _ in subs.clone() {
            let weights = Unpacked {
                vectors: data.map(|sub| Q::vectors(sub, &constants)),
                scales: data.map(|sub| SubScales::read::<Q>(sub)),
            };
            data = data.map(|sub| sub.add(Q::LAYOUT.sub_bytes()));
            for next in data {
                touch(next);
            }
            let mut sums = sums;
            if Q::HALVES {
                // Two sums for each: only those of two tokens fit the registers.
                for _ in 0..num_tokens / 2 {
                    tile::<Q, 2>(&weights, inputs, sums as *mut [[SpanSum; R]; 2], never);
                    (inputs, sums) = (inputs.add(2 * Inputs::<Q>::LEN), sums.add(2));
                }
            } else {
                for _ in 0..num_tokens / MANY_TOKENS {
                    tile::<Q, MANY_TOKENS>(&weights, inputs, sums as *mut [[SpanSum; R]; MANY_TOKENS], never);
                    (inputs, sums) = (inputs.add(MANY_TOKENS * Inputs::<Q>::LEN), sums.add(MANY_TOKENS));
                }
            }
        }
        let sums = core::slice::from_raw_parts_mut(sums, num_tokens);
        if Q::LAYOUT.is_row && Q::HAS_MIN && is_last {
            add_row_mins::<Q>(sums, groups, a, tokens.start);
        }
        let factors = groups.map(|group| Q::factors(group.add(span)));
        for t in 0..num_tokens {
            for r in 0..R {
                let sum = &sums[t][r];
                let total = match Q::LAYOUT.is_row {
                    true if is_last => sum.finish::<Q>(ZERO, factors[r]),
                    true => sum.scaled,
                    false => sum.finish::<Q>((*totals.add(t))[r], factors[r]),
                };
                v128_store(at(t, r), total);
            }
        }
    }
}

/// A sub-block of the groups.
struct Unpacked {
    vectors: [[v128; 8]; R],
    scales: [SubScales; R],
}

/// Adds a sub-block to the sums of T tokens: those of 2 groups, T inputs and a weight fill the registers.
#[inline(always)]
unsafe fn tile<Q: Quantized, const T: usize>(
    weights: &Unpacked,
    inputs: *const v128,
    sums: *mut [[SpanSum; R]; T],
    never: u32,
) {
    let input = |t: usize, i: usize| unsafe { v128_load(inputs.add(t * Inputs::<Q>::LEN + i)) };
    let mut dots = [[[ZERO; T]; R]; 2];
    let mut step = |i: usize| {
        let x: [v128; T] = core::array::from_fn(|t| input(t, i));
        let sums = &mut dots[if Q::HALVES { i / 4 } else { 0 }];
        for r in 0..R {
            for t in 0..T {
                sums[r][t] = add_dot(sums[r][t], x[t], weights.vectors[r][i]);
            }
        }
        keep_order(never);
    };
    step(0);
    step(1);
    step(2);
    step(3);
    step(4);
    step(5);
    step(6);
    step(7);
    // Another address for all the compiler knows: one that it used twice would not go into the offsets of loads and stores.
    let new_sums = core::hint::black_box(sums);
    for t in 0..T {
        let act_scale = input(t, Inputs::<Q>::SCALE);
        let centers: [v128; 2] = core::array::from_fn(|part| {
            let is_used = Q::CENTER != 0 && part < Inputs::<Q>::NUM_PARTS;
            if is_used { input(t, Inputs::<Q>::CENTERS + part) } else { ZERO }
        });
        for r in 0..R {
            let scales = &weights.scales[r];
            unsafe {
                let mut sum = SpanSum { scaled: (*sums)[t][r].scaled, min: ZERO };
                add_dots::<Q>(&mut sum, [dots[0][r][t], dots[1][r][t]], centers, scales, act_scale);
                (*new_sums)[t][r].scaled = sum.scaled;
                if Q::HAS_MIN && !Q::LAYOUT.is_row {
                    let mut min = (*sums)[t][r].min;
                    for part in 0..Inputs::<Q>::NUM_PARTS {
                        min = multiply_add(input(t, Inputs::<Q>::MINS + part), scales.floats.min[part], min);
                    }
                    (*new_sums)[t][r].min = min;
                }
            }
        }
    }
}

/// Reads the first line of a sub-block that comes after the tiles of this one, so that it is in the cache by then: they are
/// too long for the processor to look ahead. What lies behind the last one is memory of ours, too.
#[inline(always)]
unsafe fn touch(sub: *const u8) {
    unsafe { (sub as *const u32).read_volatile() };
}

/// Ends a basic block. LLVM moves each operation down to where its result is wanted as far as the block reaches: it would
/// take one sum after the other, and load the inputs of each anew.
#[inline(always)]
fn keep_order(never: u32) {
    if never != 0 {
        // SAFETY: it is a variable of ours; and never is 0.
        unsafe { (&raw mut NEVER).write_volatile(never) };
    }
}
static mut NEVER: u32 = 0;

/// The mins of a whole row: `out` has no room for what they add up to on the way.
unsafe fn add_row_mins<Q: Quantized>(
    sums: &mut [[SpanSum; R]],
    groups: [*const u8; R],
    a: &Activations,
    first_token: usize,
) {
    let num_subs = a.cols / SUB_ELEMENTS;
    for index in 0..num_subs {
        let mins = groups.map(|group| unsafe { Q::scales(group.add(Q::LAYOUT.sub_offset(index))).min });
        for (t, sums) in sums.iter_mut().enumerate() {
            for r in 0..R {
                unsafe { sums[r].add_mins::<Q>(&mins[r], a.blocks.add((first_token + t) * num_subs + index)) };
            }
        }
    }
}
