//! Attention over the block table as its formula says: one query at a time, all scores for the maximum, then once more for
//! the weights.

use crate::float16::f16_to_f32;
use crate::kernels::Attend;
use crate::kv_pool::Precision;
use core::ops::Range;

pub unsafe fn attend(task: &Attend) {
    for token in 0..task.num_tokens {
        let end = task.first_position + token + 1;
        for head in 0..task.num_kv_heads * task.num_queries {
            let query = task.queries.wrapping_add(token * task.query_stride + head * task.head_dim);
            let kv_head = head / task.num_queries;
            unsafe { attend_query(task, kv_head, query, end.saturating_sub(task.window)..end) };
        }
    }
}

unsafe fn attend_query(task: &Attend, kv_head: usize, query: *mut f32, keys: Range<usize>) {
    let sums = task.scratch;
    unsafe {
        let max = keys.clone().fold(f32::NEG_INFINITY, |max, key| max.max(score(task, kv_head, query, key)));
        for i in 0..task.head_dim {
            *sums.add(i) = 0.0;
        }
        let mut total = 0.0;
        for key in keys {
            let weight = libm::expf(score(task, kv_head, query, key) - max);
            total += weight;
            let (group, token) = (group_of(task, kv_head, key, false), key % task.pool.block_tokens % 4);
            for i in 0..task.head_dim {
                *sums.add(i) += weight * read(task.pool.precision, group, token, task.pool.v_index(token, i));
            }
        }
        for i in 0..task.head_dim {
            *query.add(i) = *sums.add(i) / total;
        }
    }
}

unsafe fn score(task: &Attend, kv_head: usize, query: *const f32, key: usize) -> f32 {
    let (group, token) = (group_of(task, kv_head, key, true), key % task.pool.block_tokens % 4);
    let product = |i| unsafe { read(task.pool.precision, group, token, task.pool.k_index(token, i)) * *query.add(i) };
    (0..task.head_dim).map(product).sum::<f32>() * task.scale
}

fn group_of(task: &Attend, kv_head: usize, key: usize, is_k: bool) -> usize {
    let (block, slot) = (task.table[key / task.pool.block_tokens] as usize, key % task.pool.block_tokens);
    if is_k {
        task.pool.k_group(block, task.layer, kv_head, slot)
    } else {
        task.pool.v_group(block, task.layer, kv_head, slot)
    }
}

/// Value `index` of a group, which belongs to its `token`.
unsafe fn read(precision: Precision, group: usize, token: usize, index: usize) -> f32 {
    let values = group + precision.header_bytes();
    unsafe {
        match precision {
            Precision::F32 => *(values as *const f32).add(index),
            Precision::F16 => f16_to_f32(*(values as *const u16).add(index)),
            Precision::Q8 => *(group as *const f32).add(token) * *(values as *const i8).add(index) as f32,
            Precision::I16 => *(group as *const f32).add(token) * *(values as *const i16).add(index) as f32,
        }
    }
}
