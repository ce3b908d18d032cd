//! Attention over the block table, one query head and one key at a time.

use crate::float16::f16_to_f32;
use crate::kernels::Attend;

pub unsafe fn attend(task: &Attend) {
    for head in 0..task.num_queries {
        unsafe { attend_head(task, task.queries.add(head * task.head_dim)) };
    }
}

unsafe fn attend_head(task: &Attend, query: *mut f32) {
    let (head_dim, block_tokens) = (task.head_dim, task.pool.block_tokens);
    let weights = task.scratch;
    unsafe {
        let sums = task.scratch.add(4 * task.weights_stride());
        for i in 0..head_dim {
            *sums.add(i) = 0.0;
        }
        let (mut max, mut total) = (f32::NEG_INFINITY, 0.0f32);
        let first_block = task.first_key / block_tokens;
        for (logical, &block) in task.table[..task.num_keys.div_ceil(block_tokens)].iter().enumerate().skip(first_block)
        {
            let first_key = task.first_key.saturating_sub(logical * block_tokens);
            let num_keys = block_tokens.min(task.num_keys - logical * block_tokens);
            let k = task.pool.k_address(block as usize, task.layer, task.kv_head);
            let v = task.pool.v_address(block as usize, task.layer, task.kv_head);
            let mut new_max = max;
            for key in first_key..num_keys {
                let mut score = 0.0;
                for i in 0..head_dim {
                    score += read(task, k, (key / 4 * head_dim + i) * 4 + key % 4) * *query.add(i);
                }
                *weights.add(key) = score * task.scale;
                new_max = new_max.max(score * task.scale);
            }
            let keep = libm::expf(max - new_max);
            max = new_max;
            total *= keep;
            for i in 0..head_dim {
                *sums.add(i) *= keep;
            }
            for key in first_key..num_keys {
                let weight = libm::expf(*weights.add(key) - max);
                total += weight;
                for i in 0..head_dim {
                    *sums.add(i) += weight * read(task, v, key * head_dim + i);
                }
            }
        }
        for i in 0..head_dim {
            *query.add(i) = *sums.add(i) / total;
        }
    }
}

unsafe fn read(task: &Attend, base: usize, index: usize) -> f32 {
    unsafe { if task.kv_f16 { f16_to_f32(*(base as *const u16).add(index)) } else { *(base as *const f32).add(index) } }
}
