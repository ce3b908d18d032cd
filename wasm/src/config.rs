//! The model descriptor: u32 words that the host writes once (`src/backends/cpu/model-descriptor.ts` is its other half).
//!
//! ```text
//! word 0 …   CONFIG_WORDS words, in the order of `Config` (f32 as bits, addresses in bytes)
//! then       token embedding, output norm, output, then LAYER_TENSORS for each layer;
//!            a tensor is 4 words: format id, rows, cols, address (0 = absent)
//! ```
//! Vectors (norms) are plain f32 and have rows = 1.

use crate::block_format::Format;
use crate::kv_pool::Precision;
use crate::matrix::Matrix;
use crate::memory::{in_memory, view};
use crate::scratch::Scratch;
use crate::step::RESULT_WORDS;

/// Raised whenever the descriptor, the step words or a packed layout change.
pub const ABI_VERSION: u32 = 2;
const CONFIG_WORDS: usize = 27;
const TENSOR_WORDS: usize = 4;
const GLOBAL_TENSORS: usize = 3;
const LAYER_TENSORS: usize = 9;

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
    pub block_tokens: usize,
    pub num_blocks: usize,
    pub kv_precision: Precision,
    pub max_batch_tokens: usize,
    pub max_sequences: usize,
    /// Rows of logits that one call can produce.
    pub max_logit_rows: usize,
    /// rope_dims/2 f64 angles per position.
    pub rope_frequencies: usize,
    pub kv_address: usize,
    pub scratch_address: usize,
    pub scratch_bytes: usize,
    pub step_address: usize,
    pub step_words: usize,
    pub results_address: usize,
    tensors: usize,
}

/// The matrices and vectors of one layer.
pub struct Layer {
    pub attn_norm: &'static [f32],
    pub attn_q: Matrix,
    pub attn_k: Matrix,
    pub attn_v: Matrix,
    pub attn_output: Matrix,
    pub ffn_norm: &'static [f32],
    pub ffn_gate: Matrix,
    pub ffn_up: Matrix,
    pub ffn_down: Matrix,
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
        if self.rope_dims % 2 != 0 || self.rope_dims > self.head_dim {
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
        if !in_memory(self.rope_frequencies, self.rope_dims / 2, 8) {
            return 8;
        }
        self.check_tensors()
    }

    fn check_tensors(&self) -> i32 {
        let (d, q, kv) = (self.d_model, self.q_dim(), self.kv_dim());
        let globals = [(self.vocab_size, d), (1, d), (self.vocab_size, d)];
        let layer =
            [(1, d), (q, d), (kv, d), (kv, d), (d, q), (1, d), (self.ffn_dim, d), (self.ffn_dim, d), (d, self.ffn_dim)];
        for index in 0..GLOBAL_TENSORS + self.num_layers * LAYER_TENSORS {
            let shape =
                if index < GLOBAL_TENSORS { globals[index] } else { layer[(index - GLOBAL_TENSORS) % LAYER_TENSORS] };
            let words = self.tensor_words(index);
            let bytes = Format::from_id(words[0]).and_then(|f| f.packed_bytes(shape.0, shape.1));
            let fits = bytes.is_some_and(|bytes| in_memory(words[3] as usize, bytes, 1));
            if (words[1] as usize, words[2] as usize) != shape || !fits {
                return 100 + index as i32;
            }
        }
        0
    }

    fn tensor_words(&self, index: usize) -> &'static [u32] {
        // SAFETY: the descriptor holds this many tensors; the host wrote it and never moves it.
        unsafe { view(self.tensors + index * TENSOR_WORDS * 4, TENSOR_WORDS) }
    }

    fn matrix(&self, index: usize) -> Matrix {
        let words = self.tensor_words(index);
        let format = Format::from_id(words[0]).unwrap_or(Format::F32);
        Matrix { format, rows: words[1] as usize, cols: words[2] as usize, data: words[3] as usize as *const u8 }
    }

    fn vector(&self, index: usize) -> &'static [f32] {
        let words = self.tensor_words(index);
        // SAFETY: `check` verified the range; weights are never written after loading.
        unsafe { view(words[3] as usize, words[2] as usize) }
    }

    pub fn token_embedding(&self) -> Matrix {
        self.matrix(0)
    }

    pub fn output_norm(&self) -> &'static [f32] {
        self.vector(1)
    }

    /// The LM head; a tied head names the embedding's address again.
    pub fn output(&self) -> Matrix {
        self.matrix(2)
    }

    pub fn layer(&self, layer: usize) -> Layer {
        let first = GLOBAL_TENSORS + layer * LAYER_TENSORS;
        Layer {
            attn_norm: self.vector(first),
            attn_q: self.matrix(first + 1),
            attn_k: self.matrix(first + 2),
            attn_v: self.matrix(first + 3),
            attn_output: self.matrix(first + 4),
            ffn_norm: self.vector(first + 5),
            ffn_gate: self.matrix(first + 6),
            ffn_up: self.matrix(first + 7),
            ffn_down: self.matrix(first + 8),
        }
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
