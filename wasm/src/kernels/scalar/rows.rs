//! Operations on one row of activations.

use crate::kernels::QuantRow;

pub fn quantize(x: &[f32], row: &mut QuantRow) {
    for (block, values) in x.chunks_exact(32).enumerate() {
        let largest = values.iter().fold(0.0f32, |max, v| max.max(v.abs()));
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let scale = largest / 127.0;
        let mut sum = 0;
        for (i, value) in values.iter().enumerate() {
            let quant = libm::rintf(value * inverse) as i32;
            let at = block * 32 + i;
            row.quants8[at] = quant as i8;
            row.quants16[at / 4 * 4 + [0, 2, 1, 3][at % 4]] = quant as i16;
            sum += quant;
            if i == 15 {
                row.sums[block * 2] = sum;
            }
        }
        row.sums[block * 2 + 1] = sum - row.sums[block * 2];
        row.scales[block] = scale;
        row.scaled_sums[block] = scale * sum as f32;
    }
}

pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    let sum_of_squares: f32 = x.iter().map(|v| v * v).sum();
    let scale = 1.0 / libm::sqrtf(sum_of_squares / x.len() as f32 + epsilon);
    for ((out, x), weight) in out.iter_mut().zip(x).zip(weight) {
        *out = x * scale * weight;
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

pub fn max(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

pub fn softmax_weights(values: &mut [f32], max: f32, inverse_temperature: f32) {
    for value in values {
        let weight = libm::expf((*value - max) * inverse_temperature);
        *value = if weight.is_nan() { 0.0 } else { weight };
    }
}

pub fn sum_exp(values: &[f32], max: f32) -> f64 {
    values.iter().filter(|v| !v.is_nan()).map(|v| libm::expf(v - max) as f64).sum()
}
