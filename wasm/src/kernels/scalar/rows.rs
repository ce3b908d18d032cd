//! Operations on one row of activations.

use crate::kernels::{GELU_CUBIC, GELU_TWO_ROOT, QuantRow};

pub fn quantize(x: &[f32], row: &mut QuantRow) {
    for ((values, block), quants16) in
        x.chunks_exact(32).zip(row.blocks.iter_mut()).zip(row.quants16.chunks_exact_mut(32))
    {
        let largest = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        block.scale = largest / 127.0;
        for (i, value) in values.iter().enumerate() {
            let quant = libm::rintf(value * inverse);
            block.quants[i] = quant as i8;
            quants16[i / 4 * 4 + [0, 2, 1, 3][i % 4]] = quant as i16;
        }
        for (half, sum) in block.half_sums.iter_mut().enumerate() {
            let quants = &block.quants[16 * half..][..16];
            *sum = block.scale * quants.iter().map(|&quant| quant as i32).sum::<i32>() as f32;
        }
        block.sum = block.scale * block.quants.iter().map(|&quant| quant as i32).sum::<i32>() as f32;
    }
}

pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let sum_of_squares: f32 = x.iter().map(|v| v * v).sum();
    let scale = 1.0 / libm::sqrtf(sum_of_squares / x.len() as f32 + epsilon);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
    }
}

pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    let len = x.len() as f32;
    let mean = x.iter().sum::<f32>() / len;
    let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / len;
    let scale = 1.0 / libm::sqrtf(variance + epsilon);
    for (((out, x), weight), bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
        *out = (x - mean) * scale * weight + bias;
    }
}

pub fn add(sum: &mut [f32], x: &[f32]) {
    for (sum, x) in sum.iter_mut().zip(x) {
        *sum += x;
    }
}

pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate = *gate / (1.0 + libm::expf(-*gate)) * up;
    }
}

pub fn gelu(x: &mut [f32]) {
    for x in x {
        *x /= 1.0 + libm::expf(-GELU_TWO_ROOT * (*x + GELU_CUBIC * *x * *x * *x));
    }
}

pub fn multiply(product: &mut [f32], x: &[f32]) {
    for (product, x) in product.iter_mut().zip(x) {
        *product *= x;
    }
}

pub fn max(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

pub fn softmax_weights(values: &mut [f32], max: f32, inverse_temperature: f32) -> f64 {
    let mut sum = 0.0;
    for value in values {
        let weight = libm::expf((*value - max) * inverse_temperature);
        *value = if weight.is_nan() { 0.0 } else { weight };
        sum += *value as f64;
    }
    sum
}

pub fn find_at_least(values: &[f32], start: usize, least: f32) -> usize {
    values[start..].iter().position(|&value| value >= least).map_or(values.len(), |at| start + at)
}

pub fn sum_exp(values: &[f32], max: f32) -> f64 {
    values.iter().filter(|v| !v.is_nan()).map(|v| libm::expf(v - max) as f64).sum()
}
