//! What the kernels read besides weights.

use crate::config::Config;
use crate::kv_pool::KvPool;
use crate::memory::view_mut;
use crate::scratch::Scratch;

/// Rows of activations in every form a matrix may want: f32 for dense weights, int8 for quantised ones.
#[derive(Clone, Copy)]
pub struct Activations {
    /// Elements of a row.
    pub cols: usize,
    pub values: *const f32,
    pub quants8: *const i8,
    /// The int8 values as i16, each group of 4 in the order k0 k2 k1 k3: what even and odd bytes of a weight vector meet.
    pub quants16: *const i16,
    /// One for each 32 elements.
    pub scales: *const f32,
    /// scale · Σ quants of each 32 elements.
    pub scaled_sums: *const f32,
    /// Σ quants of each 16 elements.
    pub sums: *const i32,
}

impl Activations {
    /// Rows of `cols` elements that start at `values`, quantised into the scratch buffers.
    pub fn new(scratch: &Scratch, values: usize, cols: usize) -> Activations {
        Activations {
            cols,
            values: values as *const f32,
            quants8: scratch.quants8 as *const i8,
            quants16: scratch.quants16 as *const i16,
            scales: scratch.act_scales as *const f32,
            scaled_sums: scratch.act_scaled_sums as *const f32,
            sums: scratch.act_sums as *const i32,
        }
    }

    /// The buffers of row `token`, to be written by `kernels::quantize`; cols is a multiple of 32.
    ///
    /// # Safety
    /// The buffers hold the row and no other view of it is alive.
    pub unsafe fn quant_row(&self, token: usize) -> QuantRow<'static> {
        let (at, blocks) = (token * self.cols, self.cols / 32);
        unsafe {
            QuantRow {
                quants8: view_mut(self.quants8.add(at) as usize, self.cols),
                quants16: view_mut(self.quants16.add(at) as usize, self.cols),
                scales: view_mut(self.scales.add(token * blocks) as usize, blocks),
                scaled_sums: view_mut(self.scaled_sums.add(token * blocks) as usize, blocks),
                sums: view_mut(self.sums.add(token * blocks * 2) as usize, blocks * 2),
            }
        }
    }
}

pub struct QuantRow<'a> {
    pub quants8: &'a mut [i8],
    pub quants16: &'a mut [i16],
    pub scales: &'a mut [f32],
    pub scaled_sums: &'a mut [f32],
    pub sums: &'a mut [i32],
}

/// Attention of one token over the keys [0, num_keys) for the query heads that share one kv head.
pub struct Attend<'a> {
    pub pool: &'a KvPool,
    pub layer: usize,
    pub kv_head: usize,
    pub table: &'a [u32],
    pub num_keys: usize,
    /// [num_queries, head_dim], replaced by the result.
    pub queries: *mut f32,
    pub num_queries: usize,
    pub head_dim: usize,
    pub kv_f16: bool,
    /// Multiplies q·k.
    pub scale: f32,
    /// [4, block_tokens + 4] and [4, head_dim] values of workspace.
    pub scratch: *mut f32,
}

impl<'a> Attend<'a> {
    /// The task of token row `queries` ([q_dim]) and `kv_head`.
    pub fn new(config: &Config, pool: &'a KvPool, scratch: &Scratch, layer: usize, kv_head: usize) -> Attend<'a> {
        Attend {
            pool,
            layer,
            kv_head,
            table: &[],
            num_keys: 0,
            queries: core::ptr::null_mut(),
            num_queries: config.num_heads / config.num_kv_heads,
            head_dim: config.head_dim,
            kv_f16: config.kv_f16,
            scale: config.attention_scale,
            scratch: scratch.attention as *mut f32,
        }
    }

    /// Values of one row of attention weights in the workspace.
    pub fn weights_stride(&self) -> usize {
        self.pool.block_tokens + 4
    }
}
