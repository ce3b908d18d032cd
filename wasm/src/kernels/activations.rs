//! What the kernels read besides weights.

use crate::config::Config;
use crate::kv_pool::KvPool;
use crate::memory::view_mut;
use crate::scratch::Scratch;

/// 32 quantised activations with all that a product needs of them: one cache line behind one pointer.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
pub struct ActBlock {
    pub quants: [i8; 32],
    pub scale: f32,
    /// scale · Σ quants.
    pub sum: f32,
    /// scale · Σ quants of each 16.
    pub half_sums: [f32; 2],
    /// Σ of quants 0, 4, 8 … and 1, 5, 9 … taken together, and of the other two: what the 16-bit lanes of a relaxed dot
    /// must subtract for each unit of a weight's offset. Of quants 0 … 15, of 16 … 31, and of all.
    pub pair_sums: [[i16; 2]; 3],
    pub padding: u32,
}

/// Rows of activations in every form a matrix may want: f32 for dense weights, int8 for quantised ones.
#[derive(Clone, Copy)]
pub struct Activations {
    /// Elements of a row.
    pub cols: usize,
    pub values: *const f32,
    /// [rows, cols/32]
    pub blocks: *const ActBlock,
    /// [rows, cols] the int8 values as i16, each group of 4 in the order k0 k2 k1 k3: what even and odd bytes of a weight
    /// vector meet.
    pub quants16: *const i16,
}

impl Activations {
    /// Rows of `cols` elements that start at `values`, quantised into the scratch buffers.
    pub fn new(scratch: &Scratch, values: usize, cols: usize) -> Activations {
        Activations {
            cols,
            values: values as *const f32,
            blocks: scratch.act_blocks as *const ActBlock,
            quants16: scratch.quants16 as *const i16,
        }
    }

    /// The buffers of row `token`, to be written by `kernels::quantize`; cols is a multiple of 32.
    ///
    /// # Safety
    /// The buffers hold the row and no other view of it is alive.
    pub unsafe fn quant_row(&self, token: usize) -> QuantRow<'static> {
        let blocks = self.cols / 32;
        unsafe {
            QuantRow {
                blocks: view_mut(self.blocks.add(token * blocks) as usize, blocks),
                quants16: view_mut(self.quants16.add(token * self.cols) as usize, self.cols),
            }
        }
    }
}

pub struct QuantRow<'a> {
    pub blocks: &'a mut [ActBlock],
    pub quants16: &'a mut [i16],
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
