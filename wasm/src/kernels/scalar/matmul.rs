//! Matrix times activations, one output element at a time.

use crate::block_format::{GROUP_ROWS, SUB_ELEMENTS};
use crate::kernels::{ActBlock, Activations};
use crate::matrix::{Matrix, SubBlock};

pub unsafe fn matmul(matrix: &Matrix, activations: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    for row in 0..matrix.rows.next_multiple_of(GROUP_ROWS) {
        for token in 0..num_tokens {
            unsafe { *out.add(token * stride + row) = 0.0 };
        }
        unsafe {
            if matrix.format.is_quantized() {
                quantized_row(matrix, row, activations, num_tokens, out.add(row), stride);
            } else {
                dense_row(matrix, row, activations, num_tokens, out.add(row), stride);
            }
        }
    }
}

unsafe fn dense_row(
    m: &Matrix,
    row: usize,
    activations: &Activations,
    num_tokens: usize,
    out: *mut f32,
    stride: usize,
) {
    for k in 0..m.cols {
        unsafe {
            let weight = m.dense(row, k);
            for token in 0..num_tokens {
                *out.add(token * stride) += weight * *activations.values.add(token * m.cols + k);
            }
        }
    }
}

unsafe fn quantized_row(m: &Matrix, row: usize, a: &Activations, num_tokens: usize, out: *mut f32, stride: usize) {
    let num_subs = m.cols / SUB_ELEMENTS;
    for sub in 0..num_subs {
        unsafe {
            let block = m.sub_block(row, sub);
            for token in 0..num_tokens {
                let sum = out.add(token * stride);
                *sum = add_sub_block(*sum, &block, &*a.blocks.add(token * num_subs + sub));
            }
        }
    }
}

/// sum + Σ over 32 elements, with the integer part of each 16 exact (each half has its own scale, and min, in Q2_K, Q3_K
/// and Q6_K; in the other types both are the same, and the halves are summed before they are scaled).
fn add_sub_block(mut sum: f32, block: &SubBlock, activations: &ActBlock) -> f32 {
    let dot = |from: usize| -> i32 {
        (from..from + 16).map(|i| (block.quants[i] - block.offset) * activations.quants[i] as i32).sum()
    };
    if block.scale[0] == block.scale[1] {
        sum += (dot(0) + dot(16)) as f32 * (block.scale[0] * activations.scale);
    } else {
        sum += dot(0) as f32 * (block.scale[0] * activations.scale);
        sum += dot(16) as f32 * (block.scale[1] * activations.scale);
    }
    if block.min[0] == block.min[1] {
        return sum + block.min[0] * activations.sum;
    }
    sum += block.min[0] * activations.half_sums[0];
    sum + block.min[1] * activations.half_sums[1]
}
