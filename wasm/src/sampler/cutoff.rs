//! Min-p, top-k and top-p without sorting. Positive floats order as their bits do, so a descent over four histograms of
//! 8 bits finds the smallest weight to keep, exactly, in at most four passes. Weight 0 means dropped.

use crate::step::Output;

/// Zeroes the weights (largest = 1) that the filters drop. At least one stays.
pub fn keep_likely(output: &Output, weights: &mut [f32]) {
    if output.min_p > 0.0 {
        let smallest = output.min_p.min(1.0);
        for weight in weights.iter_mut().filter(|weight| **weight < smallest) {
            *weight = 0.0;
        }
    }
    if output.top_k > 0 && (output.top_k as usize) < weights.len() {
        keep(weights, output.top_k as f64, |_| 1.0);
    }
    if output.top_p < 1.0 {
        let total: f64 = weights.iter().map(|&weight| weight as f64).sum();
        keep(weights, (total * output.top_p as f64).max(f64::MIN_POSITIVE), |weight| weight as f64);
    }
}

/// Keeps the largest weights until their measure reaches `target`; of equal weights, those of lower ids.
fn keep(weights: &mut [f32], target: f64, measure: impl Fn(f32) -> f64) {
    let (mut prefix, mut mask, mut missing) = (0u32, 0u32, target);
    for shift in [24, 16, 8, 0] {
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
        if above + sum >= *missing {
            *missing -= above;
            return Some(bin);
        }
        lowest = Some((bin, above));
        above += sum;
    }
    let (bin, above) = lowest?;
    *missing -= above;
    Some(bin)
}
