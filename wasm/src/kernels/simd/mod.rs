//! SIMD128 kernels. With relaxed SIMD the integer dots of unsigned weights use the 8-bit relaxed dot and float sums the
//! relaxed multiply-add; without it, exact 16-bit dots and separate operations. Nothing else differs.

mod attention;
mod cache;
mod dense;
mod exact_tile;
mod exp;
mod key_span;
mod lanes;
mod matmul;
#[cfg(target_feature = "relaxed-simd")]
mod plane_tile;
mod quantized;
mod register_tile;
#[cfg(target_feature = "relaxed-simd")]
mod relaxed_gemm;
#[cfg(target_feature = "relaxed-simd")]
mod relaxed_tile;
mod rows;
mod scales;

pub use attention::attend;
pub use matmul::matmul;
#[cfg(all(target_feature = "relaxed-simd", feature = "dot32"))]
pub use relaxed_tile::probe_dot32;
pub use rows::{
    add, find_at_least, gelu, layer_norm, max, multiply, quantize, rms_norm, softmax_weights, sum_exp, swiglu,
};
