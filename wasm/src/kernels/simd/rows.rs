//! Operations on one row of activations or logits. Rows are multiples of 4 long, except logits, whose tail is read apart.

use super::exp::Exp;
use super::lanes::{ZERO, max_lanes, multiply_add, sum_lanes};
use crate::kernels::{GELU_CUBIC, GELU_TWO_ROOT, QuantRow};
use core::arch::wasm32::*;

/// # Safety
/// `at + 4 <= x.len()`.
#[inline(always)]
unsafe fn load(x: &[f32], at: usize) -> v128 {
    debug_assert!(at + 4 <= x.len());
    unsafe { v128_load(x.as_ptr().add(at) as *const v128) }
}

/// # Safety
/// `at + 4 <= x.len()`.
#[inline(always)]
unsafe fn store(x: &mut [f32], at: usize, value: v128) {
    debug_assert!(at + 4 <= x.len());
    unsafe { v128_store(x.as_mut_ptr().add(at) as *mut v128, value) };
}

pub fn quantize(x: &[f32], row: &mut QuantRow) {
    for ((values, block), quants16) in
        x.chunks_exact(32).zip(row.blocks.iter_mut()).zip(row.quants16.chunks_exact_mut(32))
    {
        // SAFETY: a chunk has 32 values.
        unsafe {
            let mut largest = ZERO;
            for i in 0..8 {
                largest = f32x4_max(largest, f32x4_abs(load(values, 4 * i)));
            }
            let largest = max_lanes(largest);
            let scale = largest / 127.0;
            let inverse = f32x4_splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
            let rounded = |i: usize| i32x4_trunc_sat_f32x4(f32x4_nearest(f32x4_mul(load(values, 4 * i), inverse)));
            let mut all_pairs = 0;
            for half in 0..2 {
                let words =
                    [0, 1].map(|i| i16x8_narrow_i32x4(rounded(4 * half + 2 * i), rounded(4 * half + 2 * i + 1)));
                v128_store((block.quants.as_mut_ptr() as *mut v128).add(half), i8x16_narrow_i16x8(words[0], words[1]));
                for (i, &word) in words.iter().enumerate() {
                    let even_odd = i16x8_shuffle::<0, 2, 1, 3, 4, 6, 5, 7>(word, word);
                    v128_store((quants16.as_mut_ptr() as *mut v128).add(2 * half + i), even_odd);
                }
                // Lanes: k 0+1, 2+3, 4+5 … ; then pairs of lanes two apart belong together.
                let pairs = i32x4_extadd_pairwise_i16x8(i16x8_add(words[0], words[1]));
                let pairs = i32x4_add(pairs, i32x4_shuffle::<2, 3, 0, 1>(pairs, pairs));
                let (first, second) = (i32x4_extract_lane::<0>(pairs), i32x4_extract_lane::<1>(pairs));
                block.pair_sums[half] = [first as i16, second as i16];
                block.half_sums[half] = scale * (first + second) as f32;
                all_pairs += first + second;
            }
            block.pair_sums[2] =
                [block.pair_sums[0][0] + block.pair_sums[1][0], block.pair_sums[0][1] + block.pair_sums[1][1]];
            block.scale = scale;
            block.sum = scale * all_pairs as f32;
        }
    }
}

pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    // SAFETY: all three rows have the same length, a multiple of 4.
    unsafe {
        let mut squares = ZERO;
        for at in (0..x.len()).step_by(4) {
            let v = load(x, at);
            squares = multiply_add(v, v, squares);
        }
        let mean = sum_lanes(squares) / x.len() as f32;
        let scale = f32x4_splat(1.0 / libm::sqrtf(mean + epsilon));
        for at in (0..x.len()).step_by(4) {
            store(out, at, f32x4_mul(f32x4_mul(load(x, at), scale), load(weight, at)));
        }
    }
}

pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    // SAFETY: all four rows have the same length, a multiple of 4.
    unsafe {
        let mut sum = ZERO;
        for at in (0..x.len()).step_by(4) {
            sum = f32x4_add(sum, load(x, at));
        }
        let mean = f32x4_splat(sum_lanes(sum) / x.len() as f32);
        let mut squares = ZERO;
        for at in (0..x.len()).step_by(4) {
            let v = f32x4_sub(load(x, at), mean);
            squares = multiply_add(v, v, squares);
        }
        let variance = sum_lanes(squares) / x.len() as f32;
        let scale = f32x4_splat(1.0 / libm::sqrtf(variance + epsilon));
        for at in (0..x.len()).step_by(4) {
            let normed = f32x4_mul(f32x4_sub(load(x, at), mean), scale);
            store(out, at, multiply_add(normed, load(weight, at), load(bias, at)));
        }
    }
}

pub fn add(sum: &mut [f32], x: &[f32]) {
    for at in (0..sum.len()).step_by(4) {
        // SAFETY: both rows have the same length, a multiple of 4.
        unsafe { store(sum, at, f32x4_add(load(sum, at), load(x, at))) };
    }
}

pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    let exp = Exp::read();
    for at in (0..gate.len()).step_by(4) {
        // SAFETY: both rows have the same length, a multiple of 4.
        unsafe {
            let g = load(gate, at);
            let silu = f32x4_div(g, f32x4_add(f32x4_splat(1.0), exp.of(f32x4_neg(g))));
            store(gate, at, f32x4_mul(silu, load(up, at)));
        }
    }
}

pub fn gelu(x: &mut [f32]) {
    let exp = Exp::read();
    for at in (0..x.len()).step_by(4) {
        // SAFETY: the row is a multiple of 4 long.
        unsafe {
            let v = load(x, at);
            let cube = f32x4_mul(f32x4_mul(v, v), f32x4_mul(v, f32x4_splat(GELU_CUBIC)));
            let exponent = f32x4_mul(f32x4_add(v, cube), f32x4_splat(-GELU_TWO_ROOT));
            store(x, at, f32x4_div(v, f32x4_add(f32x4_splat(1.0), exp.of(exponent))));
        }
    }
}

pub fn multiply(product: &mut [f32], x: &[f32]) {
    for at in (0..product.len()).step_by(4) {
        // SAFETY: both rows have the same length, a multiple of 4.
        unsafe { store(product, at, f32x4_mul(load(product, at), load(x, at))) };
    }
}

/// Loads up to 4 values at `at`; missing ones are NaN, which every caller leaves out.
#[inline(always)]
fn load_tail(x: &[f32], at: usize) -> v128 {
    if at + 4 <= x.len() {
        // SAFETY: just checked.
        return unsafe { load(x, at) };
    }
    let get = |i: usize| x.get(at + i).copied().unwrap_or(f32::NAN);
    f32x4(get(0), get(1), get(2), get(3))
}

/// NaN lanes replaced by `other`.
#[inline(always)]
fn unless_nan(v: v128, other: v128) -> v128 {
    v128_bitselect(v, other, f32x4_eq(v, v))
}

pub fn max(values: &[f32]) -> f32 {
    let lowest = f32x4_splat(f32::NEG_INFINITY);
    let mut largest = lowest;
    for at in (0..values.len()).step_by(4) {
        largest = f32x4_max(largest, unless_nan(load_tail(values, at), lowest));
    }
    max_lanes(largest)
}

pub fn softmax_weights(values: &mut [f32], max: f32, inverse_temperature: f32) -> f64 {
    let exp = Exp::read();
    let mut sums = [f64x2_splat(0.0); 2];
    for at in (0..values.len()).step_by(4) {
        let shifted = f32x4_sub(load_tail(values, at), f32x4_splat(max));
        let weights = unless_nan(exp.of(f32x4_mul(shifted, f32x4_splat(inverse_temperature))), ZERO);
        add_wide(&mut sums, weights);
        if at + 4 <= values.len() {
            // SAFETY: just checked.
            unsafe { store(values, at, weights) };
        } else {
            // SAFETY: both are 16 bytes of plain numbers.
            let lanes: [f32; 4] = unsafe { core::mem::transmute(weights) };
            let tail = values.len() - at;
            values[at..].copy_from_slice(&lanes[..tail]);
        }
    }
    total(sums)
}

pub fn sum_exp(values: &[f32], max: f32) -> f64 {
    let exp = Exp::read();
    let mut sums = [f64x2_splat(0.0); 2];
    for at in (0..values.len()).step_by(4) {
        add_wide(&mut sums, unless_nan(exp.of(f32x4_sub(load_tail(values, at), f32x4_splat(max))), ZERO));
    }
    total(sums)
}

#[inline(always)]
fn add_wide(sums: &mut [v128; 2], v: v128) {
    sums[0] = f64x2_add(sums[0], f64x2_promote_low_f32x4(v));
    sums[1] = f64x2_add(sums[1], f64x2_promote_low_f32x4(i32x4_shuffle::<2, 3, 2, 3>(v, v)));
}

fn total(sums: [v128; 2]) -> f64 {
    let sum = f64x2_add(sums[0], sums[1]);
    f64x2_extract_lane::<0>(sum) + f64x2_extract_lane::<1>(sum)
}

pub fn find_at_least(values: &[f32], start: usize, least: f32) -> usize {
    const STRIDE: usize = 16;
    let least_lanes = f32x4_splat(least);
    let mut at = start;
    while at + STRIDE <= values.len() {
        // SAFETY: just checked.
        let reach = |i: usize| f32x4_ge(unsafe { load(values, at + 4 * i) }, least_lanes);
        if v128_any_true(v128_or(v128_or(reach(0), reach(1)), v128_or(reach(2), reach(3)))) {
            break;
        }
        at += STRIDE;
    }
    while at < values.len() && !(values[at] >= least) {
        at += 1;
    }
    at
}
