//! SIMD128 kernels. With relaxed SIMD the integer dots of unsigned weights use the 8-bit relaxed dot and float sums the
//! relaxed multiply-add; without it, exact 16-bit dots and separate operations. Nothing else differs.

mod attention;
mod cache;
mod dense;
mod lanes;
mod mac;
mod matmul;
mod quantized;
mod rows;

use super::{Activations, Attend, Kernels, QuantRow};
use crate::matrix::Matrix;

pub struct Simd;

impl Kernels for Simd {
    unsafe fn matmul(matrix: &Matrix, activations: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
        unsafe { matmul::matmul(matrix, activations, num_tokens, out, stride) }
    }
    fn quantize(x: &[f32], row: &mut QuantRow) {
        rows::quantize(x, row);
    }
    fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
        rows::rms_norm(x, weight, epsilon, out);
    }
    fn add(sum: &mut [f32], x: &[f32]) {
        rows::add(sum, x);
    }
    fn swiglu(gate: &mut [f32], up: &[f32]) {
        rows::swiglu(gate, up);
    }
    unsafe fn attend(task: &Attend) {
        unsafe { attention::attend(task) }
    }
    fn max(values: &[f32]) -> f32 {
        rows::max(values)
    }
    fn softmax_weights(values: &mut [f32], max: f32, inverse_temperature: f32) {
        rows::softmax_weights(values, max, inverse_temperature);
    }
    fn sum_exp(values: &[f32], max: f32) -> f64 {
        rows::sum_exp(values, max)
    }
}
