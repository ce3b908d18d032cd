//! The forward pass of a step: every layer for all tokens of the batch, then the LM head for the rows that are wanted.
//! Attention is the only place where a token looks beyond its own row, and it looks through its own block table.

use crate::config::Config;
use crate::kernels::{self, Activations, Attend};
use crate::kv_pool::KvPool;
use crate::layers::{Layer, Norm};
use crate::matrix::Matrix;
use crate::memory::{view, view_mut};
use crate::rope;
use crate::scratch::Scratch;
use crate::step::{Step, StepSequence};

pub struct Forward<'a> {
    config: &'a Config,
    scratch: Scratch,
    pool: KvPool,
    step: &'a Step<'a>,
    num_tokens: usize,
}

impl<'a> Forward<'a> {
    pub fn new(config: &'a Config, step: &'a Step<'a>) -> Forward<'a> {
        Forward {
            config,
            scratch: Scratch::carve(config),
            pool: KvPool::new(config),
            step,
            num_tokens: step.tokens.len(),
        }
    }

    /// Runs the tokens of the step; the residual stream of every row stays in `scratch.x`.
    ///
    /// # Safety
    /// `Config::check` and `Step::read` have passed.
    pub unsafe fn run(&self) {
        unsafe {
            for copy in self.step.copies.chunks_exact(2) {
                self.pool.copy_block(copy[0] as usize, copy[1] as usize);
            }
            if self.num_tokens == 0 {
                return;
            }
            self.embed();
            self.compute_angles();
            for index in 0..self.config.num_layers {
                let layer = self.config.layer(index);
                self.attention(index, &layer);
                self.feed_forward(&layer);
            }
        }
    }

    /// The wanted rows behind the final norm into `scratch.normed`, and the logits of the first of them into
    /// `scratch.logits`.
    ///
    /// # Safety
    /// As `run`, which has been called for these rows.
    pub unsafe fn logits(&self) {
        let c = self.config;
        let num_logit_rows = self.step.num_logit_rows;
        unsafe {
            let norm = c.output_norm();
            for (slot, &row) in self.step.head_rows.iter().enumerate() {
                self.norm_row(&norm, row as usize, slot);
            }
            if num_logit_rows == 0 {
                return;
            }
            let head = c.output();
            let input = self.input(self.scratch.normed, c.d_model, num_logit_rows, &[&head]);
            kernels::matmul(&head, &input, num_logit_rows, self.scratch.logits as *mut f32, c.logits_stride());
        }
    }

    unsafe fn row(&self, base: usize, row: usize, width: usize) -> &'a mut [f32] {
        unsafe { view_mut(base + row * width * 4, width) }
    }

    unsafe fn embed(&self) {
        let (c, s) = (self.config, &self.scratch);
        let embedding = c.token_embedding();
        unsafe {
            for (row, &token) in self.step.tokens.iter().enumerate() {
                let x = self.row(s.x, row, c.d_model);
                embedding.read_row(token as usize, x);
                if c.embedding_scale != 1.0 {
                    x.iter_mut().for_each(|value| *value *= c.embedding_scale);
                }
            }
            if let Some(positions) = c.position_embedding() {
                self.for_each_token(|row, position, _| {
                    let learned = self.row(s.normed, 0, c.d_model);
                    positions.read_row(position, learned);
                    kernels::add(self.row(s.x, row, c.d_model), learned);
                });
            }
        }
    }

    unsafe fn compute_angles(&self) {
        let c = self.config;
        let pairs = c.rope_dims / 2;
        for table in 0..c.num_rope_tables {
            let frequencies: &[f64] = unsafe { view(c.rope_frequencies + table * pairs * 8, pairs) };
            self.for_each_token(|row, position, _| {
                rope::angles(position, frequencies, c.rope_magnitude, unsafe { self.angles(table, row) });
            });
        }
    }

    /// Cosines and sines of a row, for the layers of one rope table.
    unsafe fn angles(&self, table: usize, row: usize) -> &'a mut [f32] {
        unsafe { self.row(self.scratch.rope, table * self.config.max_batch_tokens + row, self.config.rope_dims) }
    }

    /// Calls `visit` with (row, position, block table) of every token.
    fn for_each_token(&self, mut visit: impl FnMut(usize, usize, &[u32])) {
        self.for_each_sequence(|sequence| {
            for i in 0..sequence.num_tokens {
                visit(sequence.first_row + i, sequence.start_position + i, sequence.table);
            }
        });
    }

    fn for_each_sequence(&self, visit: impl FnMut(StepSequence<'a>)) {
        (0..self.step.num_sequences()).filter_map(|index| self.step.sequence(index)).for_each(visit);
    }

    /// Norm of row `row` of the residual stream into row `slot` of `scratch.normed`.
    unsafe fn norm_row(&self, norm: &Norm, row: usize, slot: usize) {
        let c = self.config;
        unsafe {
            let (x, out) = (self.row(self.scratch.x, row, c.d_model), self.row(self.scratch.normed, slot, c.d_model));
            match norm.bias {
                Some(bias) => kernels::layer_norm(x, norm.weight, bias, c.norm_epsilon, out),
                None => kernels::rms_norm(x, norm.weight, c.norm_epsilon, out),
            }
        }
    }

    /// The normed residual stream in `scratch.normed`, in the forms that `matrices` read. A row is quantised while it is
    /// in the nearest cache.
    unsafe fn normed_input(&self, norm: &Norm, matrices: &[&Matrix]) -> Activations {
        let input = Activations::new(&self.scratch, self.scratch.normed, self.config.d_model);
        for row in 0..self.num_tokens {
            unsafe {
                self.norm_row(norm, row, row);
                self.quantize_row(&input, row, matrices);
            }
        }
        input
    }

    /// Rows at `values` as the input of `matrices`.
    unsafe fn input(&self, values: usize, cols: usize, num_rows: usize, matrices: &[&Matrix]) -> Activations {
        let input = Activations::new(&self.scratch, values, cols);
        for row in 0..num_rows {
            unsafe { self.quantize_row(&input, row, matrices) };
        }
        input
    }

    /// If one of `matrices` is quantised.
    unsafe fn quantize_row(&self, input: &Activations, row: usize, matrices: &[&Matrix]) {
        if matrices.iter().any(|matrix| matrix.format.is_quantized()) {
            let values = unsafe { self.row(input.values as usize, row, input.cols) };
            kernels::quantize(values, &mut unsafe { input.quant_row(row) });
        }
    }

    /// Rows at `out` = matrix · input + bias
    unsafe fn project(&self, matrix: &Matrix, bias: Option<&[f32]>, input: &Activations, out: usize) {
        unsafe {
            kernels::matmul(matrix, input, self.num_tokens, out as *mut f32, matrix.rows);
            if let Some(bias) = bias {
                for row in 0..self.num_tokens {
                    kernels::add(self.row(out, row, matrix.rows), bias);
                }
            }
        }
    }

    /// x += post_norm(matrix · rows at `values` + bias)
    unsafe fn project_residual(&self, matrix: &Matrix, bias: Option<&[f32]>, post_norm: Option<&[f32]>, values: usize) {
        let (c, s) = (self.config, &self.scratch);
        unsafe {
            let input = self.input(values, matrix.cols, self.num_tokens, &[matrix]);
            self.project(matrix, bias, &input, s.up);
            let mut result = s.up;
            if let Some(weight) = post_norm {
                result = s.normed;
                for row in 0..self.num_tokens {
                    let out = self.row(result, row, c.d_model);
                    kernels::rms_norm(self.row(s.up, row, c.d_model), weight, c.norm_epsilon, out);
                }
            }
            let len = self.num_tokens * c.d_model;
            kernels::add(view_mut(s.x, len), view(result, len));
        }
    }

    /// RMSNorm of each head of `heads`, in place.
    unsafe fn norm_heads(&self, weight: &[f32], heads: &mut [f32]) {
        let c = self.config;
        // SAFETY: a row of `normed` holds the widest input of a matrix, and queries are one.
        let before = unsafe { self.row(self.scratch.normed, 0, heads.len()) };
        before.copy_from_slice(heads);
        for (head, out) in before.chunks_exact(c.head_dim).zip(heads.chunks_exact_mut(c.head_dim)) {
            kernels::rms_norm(head, weight, c.norm_epsilon, out);
        }
    }

    unsafe fn attention(&self, index: usize, layer: &Layer) {
        let (c, s) = (self.config, &self.scratch);
        unsafe {
            let input = self.normed_input(&layer.attn_norm, &[&layer.attn_q, &layer.attn_k, &layer.attn_v]);
            self.project(&layer.attn_q, layer.attn_q_bias, &input, s.q);
            self.project(&layer.attn_k, layer.attn_k_bias, &input, s.k);
            self.project(&layer.attn_v, layer.attn_v_bias, &input, s.v);
            self.for_each_token(|row, position, table| {
                let (q, k) = (self.row(s.q, row, c.q_dim()), self.row(s.k, row, c.kv_dim()));
                if let Some(weight) = layer.attn_q_norm {
                    self.norm_heads(weight, q);
                }
                if let Some(weight) = layer.attn_k_norm {
                    self.norm_heads(weight, k);
                }
                if c.num_rope_tables > 0 {
                    let angles = self.angles(layer.rope_table, row);
                    rope::rotate(c, angles, q);
                    rope::rotate(c, angles, k);
                }
                let (block, slot) = (table[position / c.block_tokens], position % c.block_tokens);
                self.pool.write(block as usize, index, slot, k, self.row(s.v, row, c.kv_dim()));
            });
            self.for_each_sequence(|StepSequence { first_row, num_tokens, start_position, table }| {
                let task = Attend::new(c, &self.pool, s, index, s.q + first_row * c.q_dim() * 4);
                let (first_position, window) = (start_position, layer.window);
                kernels::attend(&Attend { table, first_position, num_tokens, window, ..task });
            });
            self.project_residual(&layer.attn_output, layer.attn_output_bias, layer.attn_post_norm, s.q);
        }
    }

    unsafe fn feed_forward(&self, layer: &Layer) {
        let s = &self.scratch;
        unsafe {
            let len = self.num_tokens * self.config.ffn_dim;
            match &layer.ffn_gate {
                Some(gate) => {
                    let input = self.normed_input(&layer.ffn_norm, &[gate, &layer.ffn_up]);
                    self.project(gate, None, &input, s.gate);
                    self.project(&layer.ffn_up, layer.ffn_up_bias, &input, s.up);
                    self.gate(view_mut(s.gate, len), view(s.up, len));
                }
                None => {
                    let input = self.normed_input(&layer.ffn_norm, &[&layer.ffn_up]);
                    self.project(&layer.ffn_up, layer.ffn_up_bias, &input, s.gate);
                    kernels::gelu(view_mut(s.gate, len));
                }
            }
            self.project_residual(&layer.ffn_down, layer.ffn_down_bias, layer.ffn_post_norm, s.gate);
        }
    }

    /// gate = activation(gate) · up
    fn gate(&self, gate: &mut [f32], up: &[f32]) {
        if self.config.gelu {
            kernels::gelu(gate);
            kernels::multiply(gate, up);
        } else {
            kernels::swiglu(gate, up);
        }
    }
}
