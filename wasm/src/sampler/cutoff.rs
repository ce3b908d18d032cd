//! Min-p, top-k and top-p without sorting. Positive floats order as their bits do, so a descent over histograms of 8 bits
//! finds the smallest weight to keep, exactly. The first histogram is made of the weights near the largest, of which a
//! language model gives few; only where they do not hold what is wanted, of all. A second pass gathers the tokens above its
//! cut; everything after that works on those.

use crate::kernels;
use crate::step::Output;

/// The top byte of a weight's bits: a bin for every factor of 4.
const TOP_BYTE: u32 = 24;
/// 2^-17, where a bin begins.
const NEAR_LARGEST: f32 = f32::from_bits(55 << TOP_BYTE);

/// Applies the filters to `weights` (of every token, largest = 1), which add up to `total`. What is left lies in front, in
/// order of id, with its ids in `tokens`; returns how many, at least 1. Weight 0 means dropped.
pub fn keep_likely(output: &Output, weights: &mut [f32], total: f64, tokens: &mut [u32]) -> usize {
    let min_p = output.min_p.clamp(f32::MIN_POSITIVE, 1.0);
    let has_top_k = output.top_k > 0 && (output.top_k as usize) < weights.len();
    let has_top_p = output.top_p < 1.0;
    let top_p_of = |total: f64| (total * output.top_p as f64).max(f64::MIN_POSITIVE);
    // Of all tokens that min-p keeps, where top-k does not cut them down first.
    let mut total = total;
    if min_p > f32::MIN_POSITIVE && has_top_p && !has_top_k {
        total = Coarse::new(weights, min_p).masses.iter().sum();
    }

    let lowest = |from: f32| {
        let coarse = Coarse::new(weights, from);
        if has_top_k {
            lowest_bin(&coarse.counts, output.top_k as f64)
        } else {
            lowest_bin(&coarse.masses, top_p_of(total))
        }
    };
    let bin = if has_top_k || has_top_p {
        let near = if NEAR_LARGEST > min_p { lowest(NEAR_LARGEST) } else { None };
        near.or_else(|| lowest(min_p)).unwrap_or(0)
    } else {
        0
    };
    let len = gather(weights, tokens, min_p.max(f32::from_bits((bin as u32) << TOP_BYTE)));
    let weights = &mut weights[..len];
    if has_top_k {
        keep(weights, output.top_k as f64, |_| 1.0);
    }
    if has_top_p {
        // Of what top-k left; without it, of all tokens, also those that were not gathered.
        let total = if has_top_k { weights.iter().map(|&weight| weight as f64).sum() } else { total };
        keep(weights, top_p_of(total), |weight| weight as f64);
    }
    len
}

/// Counts and masses of the weights from some size on, by their top byte.
struct Coarse {
    counts: [f64; 256],
    masses: [f64; 256],
}

impl Coarse {
    fn new(weights: &[f32], smallest: f32) -> Coarse {
        let mut coarse = Coarse { counts: [0.0; 256], masses: [0.0; 256] };
        let mut token = kernels::find_at_least(weights, 0, smallest);
        while token < weights.len() {
            let weight = weights[token];
            let bin = (weight.to_bits() >> TOP_BYTE) as usize & 255;
            coarse.counts[bin] += 1.0;
            coarse.masses[bin] += weight as f64;
            token = kernels::find_at_least(weights, token + 1, smallest);
        }
        coarse
    }
}

/// The highest bin such that it and those above hold `target`; None where all do not.
fn lowest_bin(histogram: &[f64; 256], target: f64) -> Option<usize> {
    let mut above = 0.0;
    (0..256).rev().find(|&bin| {
        above += histogram[bin];
        above >= target
    })
}

/// Moves the weights from `smallest` on to the front and notes their tokens.
fn gather(weights: &mut [f32], tokens: &mut [u32], smallest: f32) -> usize {
    let mut len = 0;
    let mut token = kernels::find_at_least(weights, 0, smallest);
    while token < weights.len() {
        weights[len] = weights[token];
        tokens[len] = token as u32;
        len += 1;
        token = kernels::find_at_least(weights, token + 1, smallest);
    }
    len
}

/// Keeps the largest weights until their measure reaches `target`; of equal weights, those in front. Drops the others.
fn keep(weights: &mut [f32], target: f64, measure: impl Fn(f32) -> f64) {
    let (mut prefix, mut mask, mut missing) = (0u32, 0u32, target);
    for shift in [TOP_BYTE, 16, 8, 0] {
        let mut histogram = [0.0f64; 256];
        for &weight in weights.iter().filter(|weight| weight.to_bits() & mask == prefix) {
            if weight > 0.0 {
                histogram[(weight.to_bits() >> shift & 255) as usize] += measure(weight);
            }
        }
        let Some(bin) = descend(&histogram, &mut missing) else { return };
        prefix |= (bin as u32) << shift;
        mask |= 255 << shift;
    }
    for weight in weights.iter_mut() {
        let bits = weight.to_bits();
        if bits < prefix || (bits == prefix && missing <= 0.0) {
            *weight = 0.0;
        } else if bits == prefix {
            missing -= measure(*weight);
        }
    }
}

/// The highest bin at which the sum from the top reaches `missing`, which is reduced by the bins above it. Where rounding
/// leaves it just short: the lowest bin in use. None when nothing is in the histogram.
fn descend(histogram: &[f64; 256], missing: &mut f64) -> Option<usize> {
    let mut lowest = None;
    let mut above = 0.0;
    for (bin, &sum) in histogram.iter().enumerate().rev().filter(|(_, sum)| **sum > 0.0) {
        lowest = Some((bin, above));
        if above + sum >= *missing {
            break;
        }
        above += sum;
    }
    let (bin, above) = lowest?;
    *missing -= above;
    Some(bin)
}
