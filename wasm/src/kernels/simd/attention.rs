//! Attention over the block table, online softmax over spans of keys (Milakov and Gimelshein, arXiv:1805.02867).
//!
//! A tile is several tokens of one sequence times the query heads of one kv head: its rows share each read of K and V. Of a
//! few tokens it has several kv heads, span by span: their keys, and their values, lie side by side in a block, and a long
//! context is read from memory in few large pieces.
//! Spans are cut at absolute slots of the sequence, a row sums spans and keys in their order, and keys it may not see
//! weigh exactly 0: what a row becomes depends on no other row of its tile.
//!
//! Scores and weighted sums are one micro-kernel, `collect`: rows · panels of four lanes. The panels of scores are groups of
//! 4 tokens from far-apart places of a span, because a long context is read from beyond the cache and one stream alone
//! does not fill its bandwidth.

use super::cache::{Cache, CacheF16, CacheF32, CacheI16, CacheQ8, RowTiles};
use super::exp::Exp;
use super::key_span::{Cursor, Group, SPAN_GROUPS};
use super::lanes::{ZERO, max_lanes, multiply_add, sum_lanes};
use crate::kernels::Attend;
use crate::kernels::activations::{ATTENTION_ROWS, ATTENTION_SPAN};
use crate::kv_pool::Precision;
use core::arch::wasm32::*;
use core::ops::Range;

pub unsafe fn attend(task: &Attend) {
    unsafe {
        match task.pool.precision {
            Precision::F32 => attend_tiles::<CacheF32>(task),
            Precision::F16 => attend_tiles::<CacheF16>(task),
            Precision::Q8 => attend_tiles::<CacheQ8>(task),
            Precision::I16 => attend_tiles::<CacheI16>(task),
        }
    }
}

unsafe fn attend_tiles<C: Cache>(task: &Attend) {
    let tile_heads = task.num_queries.min(ATTENTION_ROWS);
    let tile_tokens = (ATTENTION_ROWS / tile_heads).min(task.num_tokens.max(1));
    let tile_kv_heads = if tile_heads < task.num_queries { 1 } else { ATTENTION_ROWS / (tile_heads * tile_tokens) };
    for kv_head in (0..task.num_kv_heads).step_by(tile_kv_heads) {
        let kv_heads = kv_head..task.num_kv_heads.min(kv_head + tile_kv_heads);
        for head in (0..task.num_queries).step_by(tile_heads) {
            let heads = head..task.num_queries.min(head + tile_heads);
            for token in (0..task.num_tokens).step_by(tile_tokens) {
                let tokens = token..task.num_tokens.min(token + tile_tokens);
                unsafe { attend_tile::<C>(task, tokens, kv_heads.clone(), heads.clone()) };
            }
        }
    }
}

/// One query and its running softmax.
#[derive(Clone, Copy)]
struct Row {
    /// Replaced by the result.
    query: *mut f32,
    /// Keys it sees.
    first_key: usize,
    end_key: usize,
    /// Makes collected scores scores.
    score_factor: f32,
    max: f32,
    total: f32,
    /// Of this span: what the sum so far is multiplied by, and what the collected values are.
    keep: f32,
    value_factor: f32,
}

impl Row {
    /// The lowest finite maximum, so that −∞ minus it stays −∞ and a span without visible keys changes nothing.
    const EMPTY: Row = Row {
        query: core::ptr::null_mut(),
        first_key: 0,
        end_key: 0,
        score_factor: 1.0,
        max: f32::MIN,
        total: 0.0,
        keep: 1.0,
        value_factor: 1.0,
    };
}

/// Where the arrays of a tile lie in the workspace, one row after another.
#[derive(Clone, Copy)]
struct Workspace {
    head_dim: usize,
    /// From the first kv head's K, and V, to those of the rows.
    head_offset: usize,
    /// [rows, head_dim] words that the lanes of K share.
    queries: *mut f32,
    /// [rows, span] scores, then weights, then the words that the lanes of V share.
    weights: *mut f32,
    /// [rows, head_dim]
    sums: *mut f32,
}

impl Workspace {
    /// From row `first` on.
    fn of_rows(&self, first: usize, head_offset: usize) -> Workspace {
        unsafe {
            Workspace {
                head_dim: self.head_dim,
                head_offset,
                queries: self.queries.add(first * self.head_dim),
                weights: self.weights.add(first * ATTENTION_SPAN),
                sums: self.sums.add(first * self.head_dim),
            }
        }
    }
}

unsafe fn attend_tile<C: Cache>(task: &Attend, tokens: Range<usize>, kv_heads: Range<usize>, heads: Range<usize>) {
    let (head_dim, queries) = (task.head_dim, task.scratch);
    let weights = unsafe { queries.add(ATTENTION_ROWS * head_dim) };
    let sums = unsafe { weights.add(ATTENTION_ROWS * ATTENTION_SPAN) };
    let space = Workspace { head_dim, head_offset: 0, queries, weights, sums };
    let head_rows = tokens.len() * heads.len();
    let mut all_rows = [Row::EMPTY; ATTENTION_ROWS];
    let rows = &mut all_rows[..kv_heads.len() * head_rows];
    unsafe {
        for (index, row) in rows.iter_mut().enumerate() {
            let (kv_head, index_in_head) = (kv_heads.start + index / head_rows, index % head_rows);
            let token = tokens.start + index_in_head / heads.len();
            let head = kv_head * task.num_queries + heads.start + index_in_head % heads.len();
            row.query = task.queries.add(token * task.query_stride + head * head_dim);
            row.end_key = task.first_position + token + 1;
            row.first_key = row.end_key.saturating_sub(task.window);
            row.score_factor = task.scale * C::share_query(row.query, head_dim, queries.add(index * head_dim));
            row_vectors(space.sums.add(index * head_dim), head_dim, |_| ZERO);
        }
        let end_key = task.first_position + tokens.end;
        let mut span = [Group::EMPTY; SPAN_GROUPS];
        let mut cursor = Cursor::at_span_of(task, rows[0].first_key);
        loop {
            let groups = cursor.next_span(task, end_key, &mut span);
            if groups.is_empty() {
                break;
            }
            for phase in [Phase::Scores, Phase::Values] {
                for (index, kv_head) in kv_heads.clone().enumerate() {
                    let space = space.of_rows(index * head_rows, kv_head * task.pool.head_bytes);
                    attend_rows::<C>(phase, &mut rows[index * head_rows..][..head_rows], groups, space);
                }
            }
        }
        for (index, row) in rows.iter().enumerate() {
            let sums = space.sums.add(index * head_dim);
            let total = f32x4_splat(row.total);
            row_vectors(row.query, head_dim, |at| f32x4_div(v128_load(sums.add(at) as *const v128), total));
        }
    }
}

/// The two halves of a span's work: each kv head's keys, then each one's values, in the order in which a block has them.
#[derive(Clone, Copy, PartialEq)]
enum Phase {
    Scores,
    Values,
}

/// A span of keys for rows that share a kv head, in tiles.
unsafe fn attend_rows<C: Cache>(phase: Phase, rows: &mut [Row], groups: &[Group], space: Workspace) {
    let mut first = 0;
    while first < rows.len() {
        let count = C::ROWS.of_left(rows.len() - first);
        let (rows, space) = (&mut rows[first..first + count], space.of_rows(first, space.head_offset));
        unsafe {
            match count {
                4 if C::ROWS != RowTiles::One => attend_span::<C, 4, 2>(phase, rows, groups, space),
                3 if C::ROWS == RowTiles::Even => attend_span::<C, 3, 2>(phase, rows, groups, space),
                2 if C::ROWS == RowTiles::Even => attend_span::<C, 2, 4>(phase, rows, groups, space),
                _ => attend_span::<C, 1, 4>(phase, rows, groups, space),
            }
        }
        first += count;
    }
}

/// A phase of a span for R rows; N panels at a time. What is left over passes row by row: rare, and a size of its own for
/// each R would double the code.
unsafe fn attend_span<C: Cache, const R: usize, const N: usize>(
    phase: Phase,
    rows: &mut [Row],
    groups: &[Group],
    space: Workspace,
) {
    let row_of = |r: usize| space.of_rows(r, space.head_offset);
    unsafe {
        if phase == Phase::Scores {
            let sets = groups.len() / N;
            for set in 0..sets {
                scores::<C, R, N>(rows, groups, core::array::from_fn(|n| set + n * sets), space);
            }
            for group in sets * N..groups.len() {
                for r in 0..R {
                    one_score::<C>(&rows[r..=r], groups, group, row_of(r));
                }
            }
            return;
        }
        for (r, row) in rows.iter_mut().enumerate() {
            weigh::<C>(row, groups, row_of(r));
        }
        let panels = space.head_dim / 4;
        for panel in (0..panels / N * N).step_by(N) {
            add_values::<C, R, N>(rows, groups, panel, space);
        }
        for panel in panels / N * N..panels {
            for r in 0..R {
                add_one_value::<C>(&rows[r..=r], groups, panel, row_of(r));
            }
        }
    }
}

#[inline(never)]
unsafe fn one_score<C: Cache>(row: &[Row], groups: &[Group], chosen: usize, space: Workspace) {
    unsafe { scores::<C, 1, 1>(row, groups, [chosen], space) };
}

#[inline(never)]
unsafe fn add_one_value<C: Cache>(row: &[Row], groups: &[Group], panel: usize, space: Workspace) {
    unsafe { add_values::<C, 1, 1>(row, groups, panel, space) };
}

/// sums[r][n] += Σ over steps of the values at `panel(n, step)` · the word at `word(r, step)`.
#[inline(always)]
unsafe fn collect<C: Cache, const R: usize, const N: usize>(
    sums: &mut [[v128; N]; R],
    num_steps: usize,
    panel: impl Fn(usize, usize) -> *const u8,
    word: impl Fn(usize, usize) -> *const f32,
) {
    for step in 0..num_steps {
        unsafe {
            let values: [v128; N] = core::array::from_fn(|n| C::load(panel(n, step)));
            for r in 0..R {
                let shared = v128_load32_splat(word(r, step) as *const u32);
                for n in 0..N {
                    sums[r][n] = C::collect(values[n], shared, sums[r][n]);
                }
            }
        }
    }
}

/// Scores of `chosen` groups into the weights; keys that a row does not see get −∞.
#[inline(always)]
unsafe fn scores<C: Cache, const R: usize, const N: usize>(
    rows: &[Row],
    groups: &[Group],
    chosen: [usize; N],
    space: Workspace,
) {
    let mut scores = [[ZERO; N]; R];
    unsafe {
        let panels = chosen.map(|g| groups[g].k.add(space.head_offset + C::PRECISION.header_bytes()));
        let words: [*const f32; R] = core::array::from_fn(|r| space.queries.add(r * space.head_dim) as *const f32);
        // A known number of steps at a time, so that the compiler unrolls them.
        let steps = 4 / C::STEP;
        for start in (0..space.head_dim).step_by(C::COMPONENTS) {
            let mut sums = [[ZERO; N]; R];
            let end = space.head_dim.min(start.saturating_add(C::COMPONENTS));
            for first in (start / C::STEP..end / C::STEP).step_by(steps) {
                let (panels, words) = (panels.map(|p| p.add(first * C::STEP_BYTES)), words.map(|w| w.add(first)));
                collect::<C, R, N>(&mut sums, steps, |n, s| panels[n].add(s * C::STEP_BYTES), |r, s| words[r].add(s));
            }
            for (scores, sums) in scores.iter_mut().zip(sums) {
                for (score, sum) in scores.iter_mut().zip(sums) {
                    *score = f32x4_add(*score, C::floats(sum));
                }
            }
        }
        for n in 0..N {
            let group = groups[chosen[n]];
            for r in 0..R {
                let score = f32x4_mul(
                    C::scores(scores[r][n], group.k.add(space.head_offset)),
                    f32x4_splat(rows[r].score_factor),
                );
                let to = space.weights.add(r * ATTENTION_SPAN + chosen[n] * 4);
                v128_store(to as *mut v128, visible(score, &group, &rows[r]));
            }
        }
    }
}

#[inline(always)]
fn visible(score: v128, group: &Group, row: &Row) -> v128 {
    let end = row.end_key.min(group.position + group.num_keys);
    if row.first_key <= group.position && group.position + 4 <= end {
        return score;
    }
    let positions = i32x4_add(i32x4_splat(group.position as i32), i32x4(0, 1, 2, 3));
    let seen =
        v128_and(i32x4_ge(positions, i32x4_splat(row.first_key as i32)), i32x4_lt(positions, i32x4_splat(end as i32)));
    v128_bitselect(score, f32x4_splat(f32::NEG_INFINITY), seen)
}

/// Scores of a row to its weights exp(score − max); moves its maximum and total.
#[inline(never)]
unsafe fn weigh<C: Cache>(row: &mut Row, groups: &[Group], space: Workspace) {
    let (weights, exp) = (space.weights, Exp::read());
    unsafe {
        let at = |group: usize| weights.add(group * 4) as *mut v128;
        let mut largest = f32x4_splat(row.max);
        for group in 0..groups.len() {
            largest = f32x4_max(largest, v128_load(at(group)));
        }
        let max = max_lanes(largest);
        row.keep = f32x4_extract_lane::<0>(exp.of(f32x4_splat(row.max - max)));
        row.max = max;
        let mut total = ZERO;
        for (index, group) in groups.iter().enumerate() {
            let weight = exp.of(f32x4_sub(v128_load(at(index)), f32x4_splat(max)));
            total = f32x4_add(total, weight);
            v128_store(at(index), C::scale_weights(weight, group.v.add(space.head_offset)));
        }
        row.total = row.total * row.keep + sum_lanes(total);
        row.value_factor = C::share_weights(weights, groups.len() * 4);
    }
}

/// sums = sums · keep + weights · values, components of panels `panel` … `panel + N − 1`.
#[inline(always)]
unsafe fn add_values<C: Cache, const R: usize, const N: usize>(
    rows: &[Row],
    groups: &[Group],
    panel: usize,
    space: Workspace,
) {
    let stride = space.head_dim / 4 * C::STEP_BYTES;
    let mut sums = [[ZERO; N]; R];
    unsafe {
        for (index, group) in groups.iter().enumerate() {
            let values = group.v.add(space.head_offset + C::PRECISION.header_bytes() + panel * C::STEP_BYTES);
            let words = space.weights.add(index * 4 / C::STEP) as *const f32;
            let at = |n, step| values.add(step * stride).add(n * C::STEP_BYTES);
            let word = |r, step| words.add(r * ATTENTION_SPAN + step);
            if group.num_keys == 4 {
                collect::<C, R, N>(&mut sums, 4 / C::STEP, at, word);
                continue;
            }
            for r in 0..R {
                for n in 0..N {
                    sums[r][n] = add_part::<C>(sums[r][n], group.num_keys, at(n, 0), stride, word(r, 0));
                }
            }
        }
        for r in 0..R {
            for n in 0..N {
                let at = space.sums.add(r * space.head_dim + (panel + n) * 4) as *mut v128;
                let kept = f32x4_mul(v128_load(at), f32x4_splat(rows[r].keep));
                v128_store(at, multiply_add(C::floats(sums[r][n]), f32x4_splat(rows[r].value_factor), kept));
            }
        }
    }
}

/// One panel of a group that is not full, as `collect`: the last one of a sequence.
#[inline(never)]
unsafe fn add_part<C: Cache>(sum: v128, num_keys: usize, values: *const u8, stride: usize, words: *const f32) -> v128 {
    let mut sums = [[sum]];
    unsafe {
        let at = |_, step: usize| values.add(step * stride);
        collect::<C, 1, 1>(&mut sums, num_keys.div_ceil(C::STEP), at, |_, step| words.add(step));
    }
    sums[0][0]
}

/// out[at …] = value(at), four at a time.
#[inline(always)]
unsafe fn row_vectors(out: *mut f32, len: usize, value: impl Fn(usize) -> v128) {
    for at in (0..len).step_by(4) {
        unsafe { v128_store(out.add(at) as *mut v128, value(at)) };
    }
}
