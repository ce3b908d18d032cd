//! The reference kernels: plain loops, one rounding at a time. Slow on purpose; every other set is compared with this one.

mod attention;
mod matmul;
mod rows;

pub use attention::attend;
pub use matmul::matmul;
pub use rows::{
    add, find_at_least, gelu, layer_norm, max, multiply, quantize, rms_norm, softmax_weights, sum_exp, swiglu,
};
