//! The model descriptor: u32 words that the host writes once (`src/backends/cpu/model-descriptor.ts` is its other half).
//! CONFIG_WORDS words in the order of `Config` (f32 as bits, addresses in bytes), then what `layers.rs` reads.

use crate::kv_pool::Precision;
use crate::memory::{in_memory, view};
use crate::scratch::Scratch;
use crate::step::RESULT_WORDS;

/// Raised whenever the descriptor, the step words or a packed layout change.
pub const ABI_VERSION: u32 = 4;
const CONFIG_WORDS: usize = 30;
/// Of layers that see all keys and of local ones.
const ROPE_TABLES_MAX: usize = 2;

#[derive(Clone, Copy)]
pub struct Config {
    pub num_layers: usize,
    pub d_model: usize,
    pub num_heads: usize,
    pub num_kv_heads: usize,
    pub head_dim: usize,
    pub ffn_dim: usize,
    pub vocab_size: usize,
    pub context_length: usize,
    pub norm_epsilon: f32,
    /// Rotated leading components of a head.
    pub rope_dims: usize,
    /// Pairs (i, i + rope_dims/2) instead of (2i, 2i + 1).
    pub rope_half_split: bool,
    /// Multiplies q·k.
    pub attention_scale: f32,
    /// The feed-forward activation is the tanh form of GELU instead of SiLU.
    pub gelu: bool,
    pub block_tokens: usize,
    pub num_blocks: usize,
    pub kv_precision: Precision,
    pub max_batch_tokens: usize,
    pub max_sequences: usize,
    /// Rows of logits that one call can produce.
    pub max_logit_rows: usize,
    /// rope_dims/2 f64 angles per position, for each rope table.
    pub rope_frequencies: usize,
    pub kv_address: usize,
    pub scratch_address: usize,
    pub scratch_bytes: usize,
    pub step_address: usize,
    pub step_words: usize,
    pub results_address: usize,
    /// Sets of frequencies that layers choose from; 0 = no rotary positions.
    pub num_rope_tables: usize,
    /// Multiplies cosine and sine.
    pub rope_magnitude: f32,
    /// Multiplies the token embedding.
    pub embedding_scale: f32,
    /// Address of the words after these.
    pub(crate) tensors: usize,
}

impl Config {
    /// Reads the descriptor; None when it is of another version.
    ///
    /// # Safety
    /// `address` is that of a descriptor in linear memory.
    pub unsafe fn read(address: usize) -> Option<Config> {
        let words: &[u32] = unsafe { view(address, CONFIG_WORDS) };
        let word = |i: usize| words[i] as usize;
        if words[0] != ABI_VERSION {
            return None;
        }
        Some(Config {
            num_layers: word(1),
            d_model: word(2),
            num_heads: word(3),
            num_kv_heads: word(4),
            head_dim: word(5),
            ffn_dim: word(6),
            vocab_size: word(7),
            context_length: word(8),
            norm_epsilon: f32::from_bits(words[9]),
            rope_dims: word(10),
            rope_half_split: words[11] == 1,
            attention_scale: f32::from_bits(words[12]),
            gelu: word(13) == 1,
            block_tokens: word(14),
            num_blocks: word(15),
            kv_precision: Precision::from_word(words[16])?,
            max_batch_tokens: word(17),
            max_sequences: word(18),
            max_logit_rows: word(19),
            rope_frequencies: word(20),
            kv_address: word(21),
            scratch_address: word(22),
            scratch_bytes: word(23),
            step_address: word(24),
            step_words: word(25),
            results_address: word(26),
            num_rope_tables: word(27),
            rope_magnitude: f32::from_bits(words[28]),
            embedding_scale: f32::from_bits(words[29]),
            tensors: address + CONFIG_WORDS * 4,
        })
    }

    /// Verifies what the kernels rely on: sizes they can compute, every region inside the memory, every tensor of the
    /// shape its role has. Returns 0, or the number of the first rule that is broken (see wasm/README.md).
    pub fn check(&self) -> i32 {
        let lanes = |n: usize| n > 0 && n % 4 == 0;
        if !lanes(self.d_model) || !lanes(self.ffn_dim) || !lanes(self.head_dim) {
            return 1;
        }
        if self.num_kv_heads == 0 || self.num_heads % self.num_kv_heads != 0 {
            return 2;
        }
        if self.rope_dims % 2 != 0 || self.rope_dims > self.head_dim || self.num_rope_tables > ROPE_TABLES_MAX {
            return 3;
        }
        if self.block_tokens == 0 || self.num_blocks == 0 || self.max_batch_tokens == 0 || self.max_logit_rows == 0 {
            return 4;
        }
        if Scratch::bytes(self) > self.scratch_bytes || !in_memory(self.scratch_address, self.scratch_bytes, 1) {
            return 5;
        }
        if !in_memory(self.kv_address, self.num_blocks, crate::kv_pool::block_bytes(self)) {
            return 6;
        }
        if !in_memory(self.step_address, self.step_words, 4)
            || !in_memory(self.results_address, self.max_logit_rows, RESULT_WORDS * 4)
        {
            return 7;
        }
        if !in_memory(self.rope_frequencies, self.num_rope_tables * (self.rope_dims / 2), 8) {
            return 8;
        }
        self.check_layers()
    }

    /// Width of q.
    pub fn q_dim(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of k and of v.
    pub fn kv_dim(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }

    /// Widest vector that is ever the input of a matrix.
    pub fn widest(&self) -> usize {
        self.d_model.max(self.q_dim()).max(self.ffn_dim)
    }

    /// Logits of one row, padded to whole groups of 4.
    pub fn logits_stride(&self) -> usize {
        self.vocab_size.next_multiple_of(4)
    }
}
