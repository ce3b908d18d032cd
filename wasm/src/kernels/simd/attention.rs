//! Attention over the block table. Lanes are tokens while scores are computed and components while values are summed,
//! so neither needs a shuffle; up to 4 query heads of a kv head share each read of K and V.

use super::lanes::{ZERO, exp, load_halves, max_lanes, multiply_add, sum_lanes};
use crate::kernels::Attend;
use core::arch::wasm32::*;

/// Query heads of a tile.
const TILE_QUERIES: usize = 4;

trait Cache {
    /// Values `index` … `index + 3` of the array at `base`.
    unsafe fn load(base: usize, index: usize) -> v128;
}

struct CacheF32;
struct CacheF16;

impl Cache for CacheF32 {
    #[inline(always)]
    unsafe fn load(base: usize, index: usize) -> v128 {
        unsafe { v128_load((base as *const f32).add(index) as *const v128) }
    }
}

impl Cache for CacheF16 {
    #[inline(always)]
    unsafe fn load(base: usize, index: usize) -> v128 {
        unsafe { load_halves((base as *const u16).add(index) as *const u8) }
    }
}

pub unsafe fn attend(task: &Attend) {
    unsafe {
        if task.kv_f16 {
            attend_tiles::<CacheF16>(task);
        } else {
            attend_tiles::<CacheF32>(task);
        }
    }
}

unsafe fn attend_tiles<C: Cache>(task: &Attend) {
    let mut head = 0;
    while head < task.num_queries {
        let queries = unsafe { task.queries.add(head * task.head_dim) };
        let count = (task.num_queries - head).min(TILE_QUERIES);
        unsafe {
            match count {
                4 => attend_heads::<C, 4>(task, queries),
                3 => attend_heads::<C, 3>(task, queries),
                2 => attend_heads::<C, 2>(task, queries),
                _ => attend_heads::<C, 1>(task, queries),
            }
        }
        head += count;
    }
}

unsafe fn attend_heads<C: Cache, const Q: usize>(task: &Attend, queries: *mut f32) {
    let (head_dim, block_tokens, stride) = (task.head_dim, task.pool.block_tokens, task.weights_stride());
    let (mut max, mut total) = ([f32::NEG_INFINITY; Q], [0.0f32; Q]);
    unsafe {
        let sums = task.scratch.add(4 * stride);
        for at in (0..Q * head_dim).step_by(4) {
            v128_store(sums.add(at) as *mut v128, ZERO);
        }
        let first_block = task.first_key / block_tokens;
        for (logical, &block) in task.table[..task.num_keys.div_ceil(block_tokens)].iter().enumerate().skip(first_block)
        {
            let first_key = task.first_key.saturating_sub(logical * block_tokens);
            let num_keys = block_tokens.min(task.num_keys - logical * block_tokens);
            let k = task.pool.k_address(block as usize, task.layer, task.kv_head);
            let block_max = scores::<C, Q>(task, queries, k, first_key, num_keys);
            for q in 0..Q {
                let new_max = max[q].max(block_max[q]);
                let keep = f32x4_extract_lane::<0>(exp(f32x4_splat(max[q] - new_max)));
                max[q] = new_max;
                total[q] = total[q] * keep + weigh(task.scratch.add(q * stride), num_keys, new_max);
                scale_row(sums.add(q * head_dim), head_dim, keep);
            }
            let v = task.pool.v_address(block as usize, task.layer, task.kv_head);
            add_values::<C, Q>(task, sums, v, num_keys);
        }
        for q in 0..Q {
            for at in (q * head_dim..(q + 1) * head_dim).step_by(4) {
                let sum = v128_load(sums.add(at) as *const v128);
                v128_store(queries.add(at) as *mut v128, f32x4_div(sum, f32x4_splat(total[q])));
            }
        }
    }
}

/// Scaled scores of a block into the workspace, −∞ for keys before `first_key` and where groups are padded; returns the
/// largest of each query.
#[inline(always)]
unsafe fn scores<C: Cache, const Q: usize>(
    task: &Attend,
    queries: *const f32,
    k: usize,
    first_key: usize,
    num_keys: usize,
) -> [f32; Q] {
    let head_dim = task.head_dim;
    let lowest = f32x4_splat(f32::NEG_INFINITY);
    let mut largest = [lowest; Q];
    for group in 0..num_keys.div_ceil(4) {
        let mut sums = [ZERO; Q];
        for i in 0..head_dim {
            unsafe {
                let keys = C::load(k, (group * head_dim + i) * 4);
                for q in 0..Q {
                    let query = v128_load32_splat(queries.add(q * head_dim + i) as *const u32);
                    sums[q] = multiply_add(keys, query, sums[q]);
                }
            }
        }
        let keys = i32x4_add(i32x4_splat(group as i32 * 4), i32x4(0, 1, 2, 3));
        let valid =
            v128_and(i32x4_ge(keys, i32x4_splat(first_key as i32)), i32x4_lt(keys, i32x4_splat(num_keys as i32)));
        for q in 0..Q {
            let scaled = v128_bitselect(f32x4_mul(sums[q], f32x4_splat(task.scale)), lowest, valid);
            largest[q] = f32x4_max(largest[q], scaled);
            unsafe { v128_store(task.scratch.add(q * task.weights_stride() + group * 4) as *mut v128, scaled) };
        }
    }
    largest.map(max_lanes)
}

/// Scores to exp(score − max) in place; returns their sum.
#[inline(always)]
unsafe fn weigh(scores: *mut f32, num_keys: usize, max: f32) -> f32 {
    let mut total = ZERO;
    for at in (0..num_keys).step_by(4) {
        unsafe {
            let weights = exp(f32x4_sub(v128_load(scores.add(at) as *const v128), f32x4_splat(max)));
            v128_store(scores.add(at) as *mut v128, weights);
            total = f32x4_add(total, weights);
        }
    }
    sum_lanes(total)
}

#[inline(always)]
unsafe fn scale_row(row: *mut f32, len: usize, factor: f32) {
    for at in (0..len).step_by(4) {
        unsafe {
            let value = v128_load(row.add(at) as *const v128);
            v128_store(row.add(at) as *mut v128, f32x4_mul(value, f32x4_splat(factor)));
        }
    }
}

#[inline(always)]
unsafe fn add_values<C: Cache, const Q: usize>(task: &Attend, sums: *mut f32, v: usize, num_keys: usize) {
    let (head_dim, stride) = (task.head_dim, task.weights_stride());
    for at in (0..head_dim).step_by(4) {
        unsafe {
            let mut sum = [ZERO; Q];
            for q in 0..Q {
                sum[q] = v128_load(sums.add(q * head_dim + at) as *const v128);
            }
            for key in 0..num_keys {
                let values = C::load(v, key * head_dim + at);
                for q in 0..Q {
                    let weight = v128_load32_splat(task.scratch.add(q * stride + key) as *const u32);
                    sum[q] = multiply_add(values, weight, sum[q]);
                }
            }
            for q in 0..Q {
                v128_store(sums.add(q * head_dim + at) as *mut v128, sum[q]);
            }
        }
    }
}
