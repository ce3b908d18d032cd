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
    /// [2 · cols] bytes of workspace: one row of quants cut in two.
    #[cfg_attr(not(target_feature = "relaxed-simd"), allow(dead_code))] // Part of the layout in every set.
    pub planes: *mut u8,
}

impl Activations {
    /// Rows of `cols` elements that start at `values`, quantised into the scratch buffers.
    pub fn new(scratch: &Scratch, values: usize, cols: usize) -> Activations {
        Activations {
            cols,
            values: values as *const f32,
            blocks: scratch.act_blocks as *const ActBlock,
            quants16: scratch.quants16 as *const i16,
            planes: scratch.planes as *mut u8,
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

/// Most rows (tokens times query heads) of an attention tile: what stays in the nearest cache with a span of K and V.
pub const ATTENTION_ROWS: usize = 32;
/// Slots of the cache between two updates of the running softmax.
pub const ATTENTION_SPAN: usize = 64;

/// Causal attention of consecutive tokens of one sequence, all heads of a layer.
pub struct Attend<'a> {
    pub pool: &'a KvPool,
    pub layer: usize,
    pub num_kv_heads: usize,
    pub table: &'a [u32],
    /// Of the first token.
    pub first_position: usize,
    pub num_tokens: usize,
    /// Keys that a token sees, its own the last of them; usize::MAX = all before it.
    pub window: usize,
    /// [num_tokens, num_kv_heads, num_queries, head_dim], tokens `query_stride` values apart; replaced by the result.
    pub queries: *mut f32,
    pub query_stride: usize,
    /// Of a kv head.
    pub num_queries: usize,
    pub head_dim: usize,
    /// Multiplies q·k.
    pub scale: f32,
    /// `attention_values` of workspace.
    pub scratch: *mut f32,
}

/// Values of workspace that attention takes: queries and sums of a tile, and the weights of a span.
pub fn attention_values(head_dim: usize) -> usize {
    ATTENTION_ROWS * (2 * head_dim + ATTENTION_SPAN)
}

impl<'a> Attend<'a> {
    /// The rows at `queries` ([tokens, q_dim]); the caller adds which tokens.
    pub fn new(config: &Config, pool: &'a KvPool, scratch: &Scratch, layer: usize, queries: usize) -> Attend<'a> {
        Attend {
            pool,
            layer,
            num_kv_heads: config.num_kv_heads,
            table: &[],
            first_position: 0,
            num_tokens: 0,
            window: usize::MAX,
            queries: queries as *mut f32,
            query_stride: config.q_dim(),
            num_queries: config.num_heads / config.num_kv_heads,
            head_dim: config.head_dim,
            scale: config.attention_scale,
            scratch: scratch.attention as *mut f32,
        }
    }
}
