//! The scratch region: every buffer a step writes besides the KV pool, carved in one fixed order, so that its size is
//! known before loading (`scratchBytes` in `src/backends/cpu/memory-plan.ts` is the same list and is checked at load).

use crate::config::Config;
use crate::kernels::{ActBlock, attention_values};
use crate::memory::align;

/// Addresses of the buffers; T = max_batch_tokens, L = max_logit_rows. All f32 unless said otherwise.
#[derive(Clone, Copy, Default)]
pub struct Scratch {
    /// [T, d_model] residual stream.
    pub x: usize,
    /// [T, widest] input of the next matrices.
    pub normed: usize,
    /// [T, q_dim] queries, then the attention's output.
    pub q: usize,
    /// [T, kv_dim]
    pub k: usize,
    /// [T, kv_dim]
    pub v: usize,
    /// [T, ffn_dim]
    pub gate: usize,
    /// [T, max(ffn_dim, d_model)] up projection; results of the output and down projections.
    pub up: usize,
    /// [T, widest/32] quantised activations.
    pub act_blocks: usize,
    /// [T, widest] i16 of the same.
    pub quants16: usize,
    /// [2, widest] bytes: one row of them cut in two.
    pub planes: usize,
    /// [rope tables, T, rope_dims] cosine and sine of each pair.
    pub rope: usize,
    /// Of one attention tile.
    pub attention: usize,
    /// [L, vocab_size rounded up to 4]
    pub logits: usize,
    /// [vocab_size] adjusted and scaled logits, then weights, of the row being sampled.
    pub candidates: usize,
    /// [vocab_size] u32 ids of the candidates left.
    pub tokens: usize,
    /// [vocab_size] u32 occurrences of each token; zero between uses.
    pub counts: usize,
}

impl Scratch {
    pub fn carve(config: &Config) -> Scratch {
        Self::layout(config).0
    }

    pub fn bytes(config: &Config) -> usize {
        Self::layout(config).1
    }

    fn layout(c: &Config) -> (Scratch, usize) {
        let t = c.max_batch_tokens;
        let blocks = c.widest().div_ceil(32);
        let mut end = c.scratch_address;
        let mut take = |bytes: usize| {
            let start = end;
            end += align(bytes);
            start
        };
        let scratch = Scratch {
            x: take(t * c.d_model * 4),
            normed: take(t * c.widest() * 4),
            q: take(t * c.q_dim() * 4),
            k: take(t * c.kv_dim() * 4),
            v: take(t * c.kv_dim() * 4),
            gate: take(t * c.ffn_dim * 4),
            up: take(t * c.ffn_dim.max(c.d_model) * 4),
            act_blocks: take(t * blocks * size_of::<ActBlock>()),
            quants16: take(t * blocks * 64),
            planes: take(blocks * 64),
            rope: take(c.num_rope_tables * t * c.rope_dims * 4),
            attention: take(attention_values(c.head_dim) * 4),
            logits: take(c.max_logit_rows * c.logits_stride() * 4),
            candidates: take(c.logits_stride() * 4),
            tokens: take(c.vocab_size * 4),
            counts: take(c.vocab_size * 4),
        };
        (scratch, end - c.scratch_address)
    }
}
