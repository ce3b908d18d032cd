//! The forward pass of a step: every layer for all tokens of the batch, then the LM head for the rows that are wanted.
//! Attention is the only place where a token looks beyond its own row, and it looks through its own block table.

use crate::config::{Config, Layer};
use crate::kernels::{self, Activations, Attend};
use crate::kv_pool::KvPool;
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

    /// Logits of the wanted rows into `scratch.logits`.
    ///
    /// # Safety
    /// As `run`, which has been called for these rows.
    pub unsafe fn logits(&self) {
        let c = self.config;
        let rows = self.step.logit_rows;
        if rows.is_empty() {
            return;
        }
        unsafe {
            for (slot, &row) in rows.iter().enumerate() {
                let x = self.row(self.scratch.x, row as usize, c.d_model);
                let normed = self.row(self.scratch.normed, slot, c.d_model);
                kernels::rms_norm(x, c.output_norm(), c.norm_epsilon, normed);
            }
            let head = c.output();
            let input = self.input(self.scratch.normed, c.d_model, rows.len(), &[&head]);
            kernels::matmul(&head, &input, rows.len(), self.scratch.logits as *mut f32, c.logits_stride());
        }
    }

    unsafe fn row(&self, base: usize, row: usize, width: usize) -> &'a mut [f32] {
        unsafe { view_mut(base + row * width * 4, width) }
    }

    unsafe fn embed(&self) {
        let embedding = self.config.token_embedding();
        for (row, &token) in self.step.tokens.iter().enumerate() {
            unsafe { embedding.read_row(token as usize, self.row(self.scratch.x, row, self.config.d_model)) };
        }
    }

    unsafe fn compute_angles(&self) {
        let dims = self.config.rope_dims;
        let frequencies: &[f64] = unsafe { view(self.config.rope_frequencies, dims / 2) };
        self.for_each_token(|row, position, _| {
            rope::angles(position, frequencies, unsafe { self.row(self.scratch.rope, row, dims) });
        });
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

    /// RMSNorm of the residual stream into `scratch.normed`, in the forms that `matrices` read.
    unsafe fn normed_input(&self, weight: &[f32], matrices: &[&Matrix]) -> Activations {
        let c = self.config;
        unsafe {
            for row in 0..self.num_tokens {
                let out = self.row(self.scratch.normed, row, c.d_model);
                kernels::rms_norm(self.row(self.scratch.x, row, c.d_model), weight, c.norm_epsilon, out);
            }
            self.input(self.scratch.normed, c.d_model, self.num_tokens, matrices)
        }
    }

    /// Rows at `values` as the input of `matrices`, quantised if one of them is.
    unsafe fn input(&self, values: usize, cols: usize, num_rows: usize, matrices: &[&Matrix]) -> Activations {
        let input = Activations::new(&self.scratch, values, cols);
        if matrices.iter().any(|matrix| matrix.format.is_quantized()) {
            for row in 0..num_rows {
                unsafe { kernels::quantize(self.row(values, row, cols), &mut input.quant_row(row)) };
            }
        }
        input
    }

    unsafe fn project(&self, matrix: &Matrix, input: &Activations, out: usize) {
        unsafe { kernels::matmul(matrix, input, self.num_tokens, out as *mut f32, matrix.rows) };
    }

    /// x += matrix · rows at `values`
    unsafe fn project_residual(&self, matrix: &Matrix, values: usize) {
        unsafe {
            let input = self.input(values, matrix.cols, self.num_tokens, &[matrix]);
            self.project(matrix, &input, self.scratch.up);
            let len = self.num_tokens * self.config.d_model;
            kernels::add(view_mut(self.scratch.x, len), view(self.scratch.up, len));
        }
    }

    unsafe fn attention(&self, index: usize, layer: &Layer) {
        let (c, s) = (self.config, &self.scratch);
        unsafe {
            let input = self.normed_input(layer.attn_norm, &[&layer.attn_q, &layer.attn_k, &layer.attn_v]);
            self.project(&layer.attn_q, &input, s.q);
            self.project(&layer.attn_k, &input, s.k);
            self.project(&layer.attn_v, &input, s.v);
            self.for_each_token(|row, position, table| {
                let angles = self.row(s.rope, row, c.rope_dims);
                let k = self.row(s.k, row, c.kv_dim());
                rope::rotate(c, angles, self.row(s.q, row, c.q_dim()));
                rope::rotate(c, angles, k);
                let (block, slot) = (table[position / c.block_tokens], position % c.block_tokens);
                self.pool.write(block as usize, index, slot, k, self.row(s.v, row, c.kv_dim()));
            });
            for kv_head in 0..c.num_kv_heads {
                self.for_each_sequence(|StepSequence { first_row, num_tokens, start_position, table }| {
                    let queries = s.q + first_row * c.q_dim() * 4;
                    let task = Attend::new(c, &self.pool, s, index, kv_head, queries);
                    kernels::attend(&Attend { table, first_position: start_position, num_tokens, ..task });
                });
            }
            self.project_residual(&layer.attn_output, s.q);
        }
    }

    unsafe fn feed_forward(&self, layer: &Layer) {
        let s = &self.scratch;
        unsafe {
            let input = self.normed_input(layer.ffn_norm, &[&layer.ffn_gate, &layer.ffn_up]);
            self.project(&layer.ffn_gate, &input, s.gate);
            self.project(&layer.ffn_up, &input, s.up);
            let len = self.num_tokens * self.config.ffn_dim;
            kernels::swiglu(view_mut(s.gate, len), view(s.up, len));
            self.project_residual(&layer.ffn_down, s.gate);
        }
    }
}
