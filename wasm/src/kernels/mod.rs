//! The kernels behind one trait. `scalar` is the readable reference over the same packed layouts and the same integer
//! arithmetic; `simd` is compiled where the target has SIMD128, and uses the relaxed instructions where those are on.
//!
//! Every kernel sums in a fixed order per output element, so a result depends on its own inputs only, never on how many
//! tokens share the call.

mod activations;
#[cfg(not(target_feature = "simd128"))]
mod scalar;
#[cfg(target_feature = "simd128")]
mod simd;

pub use activations::{Activations, Attend, QuantRow, attention_values};

use crate::matrix::Matrix;

#[cfg(not(target_feature = "simd128"))]
pub type Active = scalar::Scalar;
#[cfg(target_feature = "simd128")]
pub type Active = simd::Simd;

pub trait Kernels {
    /// out[t · stride + r] = row r of `matrix` · activations of token t, for t < num_tokens. Rows are written in whole
    /// groups of 4: `stride` is at least rows rounded up to 4.
    ///
    /// # Safety
    /// `matrix` and `activations` describe live regions, `out` holds num_tokens · stride values and overlaps neither.
    unsafe fn matmul(matrix: &Matrix, activations: &Activations, num_tokens: usize, out: *mut f32, stride: usize);

    /// int8 quantisation, one scale for each 32 values: scale = max|x| / 127, quants rounded to nearest even.
    fn quantize(x: &[f32], row: &mut QuantRow);

    /// out = x / sqrt(mean(x²) + epsilon) · weight (Zhang and Sennrich, RMSNorm, arXiv:1910.07467).
    fn rms_norm(x: &[f32], weight: &[f32], epsilon: f32, out: &mut [f32]);

    /// sum += x
    fn add(sum: &mut [f32], x: &[f32]);

    /// gate = silu(gate) · up (Shazeer, GLU variants, arXiv:2002.05202).
    fn swiglu(gate: &mut [f32], up: &[f32]);

    /// Attention of some tokens for the query heads of one kv head; the result replaces the queries.
    ///
    /// # Safety
    /// The table names blocks of the pool and covers the tokens, whose K and V were written; `queries` and `scratch` are as
    /// `Attend` says.
    unsafe fn attend(task: &Attend);

    /// Largest value that is not NaN; −∞ when there is none.
    fn max(values: &[f32]) -> f32;

    /// value = exp((value − max) · inverse_temperature); NaN gives 0.
    fn softmax_weights(values: &mut [f32], max: f32, inverse_temperature: f32);

    /// Σ exp(value − max), NaN left out.
    fn sum_exp(values: &[f32], max: f32) -> f64;
}
