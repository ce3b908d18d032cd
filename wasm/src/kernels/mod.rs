//! The kernels. `scalar` is the readable reference over the same packed layouts and the same integer arithmetic; `simd` is
//! compiled where the target has SIMD128, and uses the relaxed instructions where those are on. The functions here say
//! what both do, and call the one that is compiled.
//!
//! Every kernel sums in a fixed order per output element, so a result depends on its own inputs only, never on how many
//! tokens share the call.

mod activations;
#[cfg(not(target_feature = "simd128"))]
mod scalar;
#[cfg(target_feature = "simd128")]
mod simd;

/// Of u in `gelu`: 2 · √(2/π), and the cubic coefficient.
const GELU_TWO_ROOT: f32 = 1.595_769_1;
const GELU_CUBIC: f32 = 0.044_715;

pub use activations::{ActBlock, Activations, Attend, QuantRow, attention_values};

use crate::matrix::Matrix;
#[cfg(not(target_feature = "simd128"))]
use scalar as active;
#[cfg(target_feature = "simd128")]
use simd as active;

/// out[t · stride + r] = row r of `matrix` · activations of token t, for t < num_tokens. Rows are written in whole groups
/// of 4: `stride` is at least rows rounded up to 4.
///
/// # Safety
/// `matrix` and `activations` describe live regions, `out` holds num_tokens · stride values and overlaps neither.
pub unsafe fn matmul(matrix: &Matrix, activations: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    unsafe { active::matmul(matrix, activations, num_tokens, out, stride) }
}

/// int8 quantisation, one scale for each 32 values: scale = max|x| / 127, quants rounded to nearest even.
pub fn quantize(x: &[f32], row: &mut QuantRow) {
    active::quantize(x, row)
}

/// out = x / sqrt(mean(x²) + epsilon) · weight (Zhang and Sennrich, RMSNorm, arXiv:1910.07467).
pub fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]) {
    active::rms_norm(x, weight, epsilon, out)
}

/// out = (x − mean) / sqrt(variance + epsilon) · weight + bias (Ba et al., Layer Normalization, arXiv:1607.06450).
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    active::layer_norm(x, weight, bias, epsilon, out)
}

/// sum += x
pub fn add(sum: &mut [f32], x: &[f32]) {
    active::add(sum, x)
}

/// gate = silu(gate) · up (Shazeer, GLU variants, arXiv:2002.05202).
pub fn swiglu(gate: &mut [f32], up: &[f32]) {
    active::swiglu(gate, up)
}

/// x = gelu(x), in the form with tanh (Hendrycks and Gimpel, GELU, arXiv:1606.08415):
/// x / 2 · (1 + tanh u) = x / (1 + exp(−2u)), u = √(2/π) · (x + 0.044715 x³).
pub fn gelu(x: &mut [f32]) {
    active::gelu(x)
}

/// product *= x
pub fn multiply(product: &mut [f32], x: &[f32]) {
    active::multiply(product, x)
}

/// Attention of some tokens; the result replaces the queries.
///
/// # Safety
/// The table names blocks of the pool and covers the tokens, whose K and V were written; `queries` and `scratch` are as
/// `Attend` says.
pub unsafe fn attend(task: &Attend) {
    unsafe { active::attend(task) }
}

/// Largest value that is not NaN; −∞ when there is none.
pub fn max(values: &[f32]) -> f32 {
    active::max(values)
}

/// value = exp((value − max) · inverse_temperature); NaN gives 0. Returns their sum.
pub fn softmax_weights(values: &mut [f32], max: f32, inverse_temperature: f32) -> f64 {
    active::softmax_weights(values, max, inverse_temperature)
}

/// The first index from `start` on whose value is at least `least`; the length where there is none.
pub fn find_at_least(values: &[f32], start: usize, least: f32) -> usize {
    active::find_at_least(values, start, least)
}

/// Σ exp(value − max), NaN left out.
pub fn sum_exp(values: &[f32], max: f32) -> f64 {
    active::sum_exp(values, max)
}

#[cfg(all(target_feature = "relaxed-simd", feature = "dot32"))]
pub use simd::probe_dot32;
