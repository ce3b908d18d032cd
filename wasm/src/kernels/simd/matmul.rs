//! Matrix times activations, by the kind of tile that suits a weight type.
//!
//! Decoding from RAM is bound by memory streams as well as by arithmetic: the groups of a matrix are cut into PANELS equal
//! parts that lie far apart and are walked together.

use super::dense::{Bf16, DenseTile, F16, F32};
use super::exact_tile::ExactTile;
use super::quantized::*;
use super::register_tile::walk;
#[cfg(target_feature = "relaxed-simd")]
use super::relaxed_tile::walk as unsigned;
use crate::block_format::Format;
use crate::kernels::Activations;
use crate::matrix::Matrix;

/// Memory streams of a product: groups far apart that are walked together.
pub const PANELS: usize = 4;

/// Types whose quants are 0…63 as stored.
#[cfg(not(target_feature = "relaxed-simd"))]
unsafe fn unsigned<Q: Quantized>(m: &Matrix, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    unsafe { walk::<ExactTile<Q>>(m, a, num_tokens, out, stride) }
}

pub unsafe fn matmul(m: &Matrix, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    unsafe {
        match m.format {
            Format::F32 => walk::<DenseTile<F32>>(m, a, num_tokens, out, stride),
            Format::F16 => walk::<DenseTile<F16>>(m, a, num_tokens, out, stride),
            Format::BF16 => walk::<DenseTile<Bf16>>(m, a, num_tokens, out, stride),
            Format::Q4_0 => unsigned::<Q4_0>(m, a, num_tokens, out, stride),
            Format::Q4_1 => unsigned::<Q4_1>(m, a, num_tokens, out, stride),
            Format::Q5_0 => unsigned::<Q5_0>(m, a, num_tokens, out, stride),
            Format::Q5_1 => unsigned::<Q5_1>(m, a, num_tokens, out, stride),
            #[cfg(target_feature = "relaxed-simd")]
            Format::Q8_0 if num_tokens == 1 => super::plane_tile::walk(m, a, out),
            Format::Q8_0 => walk::<ExactTile<Q8_0>>(m, a, num_tokens, out, stride),
            Format::Q2_K => unsigned::<Q2_K>(m, a, num_tokens, out, stride),
            Format::Q3_K => unsigned::<Q3_K>(m, a, num_tokens, out, stride),
            Format::Q4_K => unsigned::<Q4_K>(m, a, num_tokens, out, stride),
            Format::Q5_K => unsigned::<Q5_K>(m, a, num_tokens, out, stride),
            Format::Q6_K => unsigned::<Q6_K>(m, a, num_tokens, out, stride),
            Format::IQ4_NL => walk::<ExactTile<IQ4_NL>>(m, a, num_tokens, out, stride),
            Format::IQ4_XS => walk::<ExactTile<IQ4_XS>>(m, a, num_tokens, out, stride),
        }
    }
}
