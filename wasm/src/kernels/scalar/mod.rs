//! The reference kernels: plain loops, one rounding at a time. Slow on purpose; every other set is compared with this one.

mod attention;
mod matmul;
mod rows;

use super::{Activations, Attend, Kernels, QuantRow};
use crate::matrix::Matrix;

pub struct Scalar;

impl Kernels for Scalar {
    unsafe fn matmul(matrix: &Matrix, activations: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
        unsafe { matmul::matmul(matrix, activations, num_tokens, out, stride) }
    }
    fn quantize(x: &[f32], row: &mut QuantRow) {
        rows::quantize(x, row);
    }
    fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        rows::rms_norm(x, weight, epsilon, out);
    }
    fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
        rows::layer_norm(x, weight, bias, epsilon, out);
    }
    fn add(sum: &mut [f32], x: &[f32]) {
        rows::add(sum, x);
    }
    fn swiglu(gate: &mut [f32], up: &[f32]) {
        rows::swiglu(gate, up);
    }
    fn gelu(x: &mut [f32]) {
        rows::gelu(x);
    }
    fn multiply(product: &mut [f32], x: &[f32]) {
        rows::multiply(product, x);
    }
    unsafe fn attend(task: &Attend) {
        unsafe { attention::attend(task) }
    }
    fn max(values: &[f32]) -> f32 {
        values.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
    fn softmax_weights(values: &mut [f32], max: f32, inverse_temperature: f32) {
        rows::softmax_weights(values, max, inverse_temperature);
    }
    fn sum_exp(values: &[f32], max: f32) -> f64 {
        values.iter().filter(|v| !v.is_nan()).map(|v| libm::expf(v - max) as f64).sum()
    }
}
