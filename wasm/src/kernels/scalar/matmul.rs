//! Matrix times activations, one output element at a time.

use crate::block_format::{GROUP_ROWS, SUB_ELEMENTS};
use crate::kernels::Activations;
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
                *sum = add_sub_block(*sum, &block, a, token * num_subs + sub);
            }
        }
    }
}

/// sum + Σ over 32 elements, with the integer part of each 16 exact (each half has its own scale, and min, in Q2_K, Q3_K
/// and Q6_K; in the other types both are the same, and the halves are summed before they are scaled).
unsafe fn add_sub_block(mut sum: f32, block: &SubBlock, a: &Activations, act_block: usize) -> f32 {
    unsafe {
        let quants = a.quants8.add(act_block * SUB_ELEMENTS);
        let dot = |from: usize| -> i32 {
            (from..from + 16).map(|i| (block.quants[i] - block.offset) * *quants.add(i) as i32).sum()
        };
        let act_scale = *a.scales.add(act_block);
        if block.scale[0] == block.scale[1] {
            sum += (dot(0) + dot(16)) as f32 * (block.scale[0] * act_scale);
        } else {
            sum += dot(0) as f32 * (block.scale[0] * act_scale);
            sum += dot(16) as f32 * (block.scale[1] * act_scale);
        }
        if block.min[0] == block.min[1] {
            sum + block.min[0] * *a.scaled_sums.add(act_block)
        } else {
            let sums = a.sums.add(2 * act_block);
            sum += block.min[0] * (act_scale * *sums as f32);
            sum + block.min[1] * (act_scale * *sums.add(1) as f32)
        }
    }
}
