//! The second half of the model descriptor: which weights there are and what each layer does with them.
//!
//! ```text
//! GLOBAL_TENSORS tensors: token embedding, position embedding, output norm and its bias, output
//! for each layer: window (0 = all keys), rope table, and LAYER_TENSORS tensors in the order of `Layer`
//! a tensor is 4 words: format id, rows, cols, address (0 = absent)
//! ```
//! Vectors (norms, biases) are plain f32 and have rows = 1. A matrix may be rows of a larger packed one, such as a fused
//! attn_qkv: it starts at a group of 4 rows. What a model does not have is absent, so a variation costs one branch a layer.

use crate::block_format::Format;
use crate::config::Config;
use crate::matrix::Matrix;
use crate::memory::{in_memory, view};

const TENSOR_WORDS: usize = 4;
const GLOBAL_TENSORS: usize = 5;
/// Window and rope table.
const LAYER_HEADER_WORDS: usize = 2;
const LAYER_TENSORS: usize = 21;
const LAYER_WORDS: usize = LAYER_HEADER_WORDS + LAYER_TENSORS * TENSOR_WORDS;

type Vector = &'static [f32];

/// A norm with a bias is a LayerNorm, one without an RMSNorm.
pub struct Norm {
    pub weight: Vector,
    pub bias: Option<Vector>,
}

/// What one layer computes with.
pub struct Layer {
    /// Keys visible to a token, itself included; usize::MAX = all before it.
    pub window: usize,
    pub rope_table: usize,
    pub attn_norm: Norm,
    pub attn_q: Matrix,
    pub attn_k: Matrix,
    pub attn_v: Matrix,
    pub attn_q_bias: Option<Vector>,
    pub attn_k_bias: Option<Vector>,
    pub attn_v_bias: Option<Vector>,
    /// RMSNorm of each head, before rope.
    pub attn_q_norm: Option<Vector>,
    pub attn_k_norm: Option<Vector>,
    pub attn_output: Matrix,
    pub attn_output_bias: Option<Vector>,
    /// RMSNorm of the attention's result, before the residual sum.
    pub attn_post_norm: Option<Vector>,
    pub ffn_norm: Norm,
    /// Without a gate the activation is GELU.
    pub ffn_gate: Option<Matrix>,
    pub ffn_up: Matrix,
    pub ffn_up_bias: Option<Vector>,
    pub ffn_down: Matrix,
    pub ffn_down_bias: Option<Vector>,
    pub ffn_post_norm: Option<Vector>,
}

impl Config {
    /// Verifies rope tables and the shape and place of every tensor. Returns 0, 9, or 100 and the number of the tensor.
    pub fn check_layers(&self) -> i32 {
        if (0..self.num_layers).any(|layer| self.layer_header(layer)[1] as usize >= self.num_rope_tables.max(1)) {
            return 9;
        }
        const OPTIONAL: bool = true;
        const NEEDED: bool = false;
        let (d, q, kv, ffn, head) = (self.d_model, self.q_dim(), self.kv_dim(), self.ffn_dim, self.head_dim);
        let globals = [
            ((self.vocab_size, d), NEEDED),
            ((self.context_length, d), OPTIONAL),
            ((1, d), NEEDED),
            ((1, d), OPTIONAL),
            ((self.vocab_size, d), NEEDED),
        ];
        let layer = [
            ((1, d), NEEDED),
            ((1, d), OPTIONAL),
            ((q, d), NEEDED),
            ((kv, d), NEEDED),
            ((kv, d), NEEDED),
            ((1, q), OPTIONAL),
            ((1, kv), OPTIONAL),
            ((1, kv), OPTIONAL),
            ((1, head), OPTIONAL),
            ((1, head), OPTIONAL),
            ((d, q), NEEDED),
            ((1, d), OPTIONAL),
            ((1, d), OPTIONAL),
            ((1, d), NEEDED),
            ((1, d), OPTIONAL),
            ((ffn, d), OPTIONAL),
            ((ffn, d), NEEDED),
            ((1, ffn), OPTIONAL),
            ((d, ffn), NEEDED),
            ((1, d), OPTIONAL),
            ((1, d), OPTIONAL),
        ];
        for index in 0..GLOBAL_TENSORS + self.num_layers * LAYER_TENSORS {
            let (words, (shape, may_be_absent)) = match index.checked_sub(GLOBAL_TENSORS) {
                None => (self.global_words(index), globals[index]),
                Some(i) => (self.layer_words(i / LAYER_TENSORS, i % LAYER_TENSORS), layer[i % LAYER_TENSORS]),
            };
            if words[3] == 0 && may_be_absent {
                continue;
            }
            // Positions may reach further than this context does.
            let rows_fit = if index == 1 { words[1] as usize >= shape.0 } else { words[1] as usize == shape.0 };
            let bytes = Format::from_id(words[0]).and_then(|f| f.packed_bytes(words[1] as usize, shape.1));
            let lies_in_memory = bytes.is_some_and(|bytes| in_memory(words[3] as usize, bytes, 1));
            let is_dense_vector = shape.0 != 1 || words[0] == Format::F32 as u32;
            if !rows_fit || words[2] as usize != shape.1 || !lies_in_memory || !is_dense_vector {
                return 100 + index as i32;
            }
        }
        0
    }

    fn global_words(&self, tensor: usize) -> &'static [u32] {
        // SAFETY: the descriptor holds this many tensors; the host wrote it and never moves it.
        unsafe { view(self.tensors + tensor * TENSOR_WORDS * 4, TENSOR_WORDS) }
    }

    fn layer_address(&self, layer: usize) -> usize {
        self.tensors + (GLOBAL_TENSORS * TENSOR_WORDS + layer * LAYER_WORDS) * 4
    }

    fn layer_header(&self, layer: usize) -> &'static [u32] {
        // SAFETY: as `global_words`.
        unsafe { view(self.layer_address(layer), LAYER_HEADER_WORDS) }
    }

    fn layer_words(&self, layer: usize, tensor: usize) -> &'static [u32] {
        let address = self.layer_address(layer) + (LAYER_HEADER_WORDS + tensor * TENSOR_WORDS) * 4;
        // SAFETY: as `global_words`.
        unsafe { view(address, TENSOR_WORDS) }
    }

    pub fn token_embedding(&self) -> Matrix {
        matrix(self.global_words(0))
    }

    /// Learned positions, [positions, d_model].
    pub fn position_embedding(&self) -> Option<Matrix> {
        optional_matrix(self.global_words(1))
    }

    pub fn output_norm(&self) -> Norm {
        Norm { weight: vector(self.global_words(2)), bias: optional_vector(self.global_words(3)) }
    }

    /// The LM head; a tied head names the embedding's address again.
    pub fn output(&self) -> Matrix {
        matrix(self.global_words(4))
    }

    pub fn layer(&self, layer: usize) -> Layer {
        let header = self.layer_header(layer);
        let words = |tensor: usize| self.layer_words(layer, tensor);
        Layer {
            window: if header[0] == 0 { usize::MAX } else { header[0] as usize },
            rope_table: header[1] as usize,
            attn_norm: Norm { weight: vector(words(0)), bias: optional_vector(words(1)) },
            attn_q: matrix(words(2)),
            attn_k: matrix(words(3)),
            attn_v: matrix(words(4)),
            attn_q_bias: optional_vector(words(5)),
            attn_k_bias: optional_vector(words(6)),
            attn_v_bias: optional_vector(words(7)),
            attn_q_norm: optional_vector(words(8)),
            attn_k_norm: optional_vector(words(9)),
            attn_output: matrix(words(10)),
            attn_output_bias: optional_vector(words(11)),
            attn_post_norm: optional_vector(words(12)),
            ffn_norm: Norm { weight: vector(words(13)), bias: optional_vector(words(14)) },
            ffn_gate: optional_matrix(words(15)),
            ffn_up: matrix(words(16)),
            ffn_up_bias: optional_vector(words(17)),
            ffn_down: matrix(words(18)),
            ffn_down_bias: optional_vector(words(19)),
            ffn_post_norm: optional_vector(words(20)),
        }
    }
}

fn matrix(words: &[u32]) -> Matrix {
    let format = Format::from_id(words[0]).unwrap_or(Format::F32);
    Matrix { format, rows: words[1] as usize, cols: words[2] as usize, data: words[3] as usize as *const u8 }
}

fn optional_matrix(words: &[u32]) -> Option<Matrix> {
    (words[3] != 0).then(|| matrix(words))
}

fn vector(words: &[u32]) -> Vector {
    // SAFETY: `check` verified the range; weights are never written after loading.
    unsafe { view(words[3] as usize, words[2] as usize) }
}

fn optional_vector(words: &[u32]) -> Option<Vector> {
    (words[3] != 0).then(|| vector(words))
}
