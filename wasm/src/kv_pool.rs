//! The paged KV pool. A block holds `block_tokens` positions of every layer:
//!
//! ```text
//! block → layer → K: kv head → group of 4 tokens → component → 4 tokens      (lanes are tokens: scores need no shuffles)
//!               → V: kv head → token → component                             (lanes are components)
//! ```
//! Values are f32 or f16. A block is contiguous, so copy-on-write is one copy; groups are padded to 4 tokens, so any block
//! size works. Addresses of (block, layer, head) come from here only: another precision is another `elem_bytes`.

use crate::config::Config;
use crate::float16::f32_to_f16;

#[derive(Clone, Copy)]
pub struct KvPool {
    base: usize,
    pub block_tokens: usize,
    head_dim: usize,
    elem_bytes: usize,
    /// Bytes of K (or of V) of one head in one block.
    head_bytes: usize,
    layer_bytes: usize,
    block_bytes: usize,
    num_kv_heads: usize,
}

pub fn block_bytes(config: &Config) -> usize {
    KvPool::new(config).block_bytes
}

impl KvPool {
    pub fn new(c: &Config) -> KvPool {
        let elem_bytes = if c.kv_f16 { 2 } else { 4 };
        let head_bytes = c.block_tokens.next_multiple_of(4) * c.head_dim * elem_bytes;
        let layer_bytes = 2 * c.num_kv_heads * head_bytes;
        KvPool {
            base: c.kv_address,
            block_tokens: c.block_tokens,
            head_dim: c.head_dim,
            elem_bytes,
            head_bytes,
            layer_bytes,
            block_bytes: layer_bytes * c.num_layers,
            num_kv_heads: c.num_kv_heads,
        }
    }

    /// Address of K of one head in one block.
    pub fn k_address(&self, block: usize, layer: usize, kv_head: usize) -> usize {
        self.base + block * self.block_bytes + layer * self.layer_bytes + kv_head * self.head_bytes
    }

    /// Address of V of one head in one block.
    pub fn v_address(&self, block: usize, layer: usize, kv_head: usize) -> usize {
        self.k_address(block, layer, kv_head) + self.num_kv_heads * self.head_bytes
    }

    /// Writes k and v ([kv heads · head_dim]) of one token into slot `slot` of `block`.
    ///
    /// # Safety
    /// The pool lies in memory, and block, layer and slot are inside it.
    pub unsafe fn write(&self, block: usize, layer: usize, slot: usize, k: &[f32], v: &[f32]) {
        for head in 0..self.num_kv_heads {
            let values = head * self.head_dim..(head + 1) * self.head_dim;
            let k_base = self.k_address(block, layer, head) + slot / 4 * 4 * self.head_dim * self.elem_bytes;
            let v_base = self.v_address(block, layer, head) + slot * self.head_dim * self.elem_bytes;
            for (i, (&k, &v)) in k[values.clone()].iter().zip(&v[values]).enumerate() {
                let (k_index, v_index) = (i * 4 + slot % 4, i);
                unsafe {
                    if self.elem_bytes == 2 {
                        *(k_base as *mut u16).add(k_index) = f32_to_f16(k);
                        *(v_base as *mut u16).add(v_index) = f32_to_f16(v);
                    } else {
                        *(k_base as *mut f32).add(k_index) = k;
                        *(v_base as *mut f32).add(v_index) = v;
                    }
                }
            }
        }
    }

    /// Copies a whole block, all layers.
    ///
    /// # Safety
    /// Both blocks are inside the pool.
    pub unsafe fn copy_block(&self, from: usize, to: usize) {
        let at = |block: usize| (self.base + block * self.block_bytes) as *mut u8;
        unsafe { core::ptr::copy(at(from), at(to), self.block_bytes) };
    }
}
