//! The paged KV pool. A block holds `block_tokens` positions of every layer:
//!
//! ```text
//! block → layer → K: kv head → group of 4 tokens
//!               → V: kv head → group of 4 tokens
//!
//! group of K    [scales] then  step of components → token → the components of the step      (lanes are tokens)
//! group of V    [scales] then  step of tokens → component → the tokens of the step          (lanes are components)
//! ```
//! A step is what one vector instruction multiplies in a lane: 1 value of f32 and f16, 2 of integers (a pair for the 16-bit
//! dot). Integers have a scale for each token, max|x| / `Precision::most`, four of them in front of the group. They are f32:
//! f16 would round away most of the scale of a small V, and 4 · 4 bytes for 4 tokens of 64 components are 3 % of int8.
//!
//! A block is contiguous, so copy-on-write is one copy; groups are padded to 4 tokens, so any block size works. Every
//! address and index comes from here.

use crate::config::Config;
use crate::float16::f32_to_f16;

#[derive(Clone, Copy, PartialEq)]
pub enum Precision {
    F32,
    F16,
    Q8,
    /// 13 bits of 16: what it meets has 14, and 64 products fit 32 bits. About as precise as f16, which rounds to 2^-12 of a
    /// value, and half the work: nothing is converted, and a step multiplies two values.
    I16,
}

impl Precision {
    /// The descriptor's word for it; None for another.
    pub fn from_word(word: u32) -> Option<Precision> {
        [Precision::F32, Precision::F16, Precision::Q8, Precision::I16].get(word as usize).copied()
    }

    const fn is_integer(self) -> bool {
        matches!(self, Precision::Q8 | Precision::I16)
    }

    /// The largest integer.
    pub const fn most(self) -> i32 {
        if matches!(self, Precision::Q8) { 127 } else { 4095 }
    }

    /// Values of a lane in one step.
    pub const fn step(self) -> usize {
        if self.is_integer() { 2 } else { 1 }
    }

    /// Bytes in front of a group's values.
    pub const fn header_bytes(self) -> usize {
        if self.is_integer() { 16 } else { 0 }
    }

    pub const fn value_bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::F16 | Precision::I16 => 2,
            Precision::Q8 => 1,
        }
    }
}

#[derive(Clone, Copy)]
pub struct KvPool {
    base: usize,
    pub precision: Precision,
    pub block_tokens: usize,
    head_dim: usize,
    group_bytes: usize,
    /// Bytes of K (or of V) of one head in one block; the next head's follow.
    pub head_bytes: usize,
    layer_bytes: usize,
    block_bytes: usize,
    num_kv_heads: usize,
}

pub fn block_bytes(config: &Config) -> usize {
    KvPool::new(config).block_bytes
}

impl KvPool {
    pub fn new(c: &Config) -> KvPool {
        let group_bytes = c.kv_precision.header_bytes() + 4 * c.head_dim * c.kv_precision.value_bytes();
        let head_bytes = c.block_tokens.div_ceil(4) * group_bytes;
        let layer_bytes = 2 * c.num_kv_heads * head_bytes;
        KvPool {
            base: c.kv_address,
            precision: c.kv_precision,
            block_tokens: c.block_tokens,
            head_dim: c.head_dim,
            group_bytes,
            head_bytes,
            layer_bytes,
            block_bytes: layer_bytes * c.num_layers,
            num_kv_heads: c.num_kv_heads,
        }
    }

    /// Address of the group of K of one head that holds `slot` of `block`.
    pub fn k_group(&self, block: usize, layer: usize, kv_head: usize, slot: usize) -> usize {
        let head = self.base + block * self.block_bytes + layer * self.layer_bytes + kv_head * self.head_bytes;
        head + slot / 4 * self.group_bytes
    }

    /// Address of the group of V.
    pub fn v_group(&self, block: usize, layer: usize, kv_head: usize, slot: usize) -> usize {
        self.k_group(block, layer, kv_head, slot) + self.num_kv_heads * self.head_bytes
    }

    /// Index of a component of K among the values of its group; `token` counts from the group's first.
    pub fn k_index(&self, token: usize, component: usize) -> usize {
        let step = self.precision.step();
        component / step * 4 * step + token * step + component % step
    }

    /// Index of a component of V among the values of its group.
    pub fn v_index(&self, token: usize, component: usize) -> usize {
        let step = self.precision.step();
        token / step * self.head_dim * step + component * step + token % step
    }

    /// Writes k and v ([kv heads · head_dim]) of one token into slot `slot` of `block`.
    ///
    /// # Safety
    /// The pool lies in memory, and block, layer and slot are inside it.
    pub unsafe fn write(&self, block: usize, layer: usize, slot: usize, k: &[f32], v: &[f32]) {
        let token = slot % 4;
        let heads = k.chunks_exact(self.head_dim).zip(v.chunks_exact(self.head_dim));
        for (head, (k, v)) in heads.enumerate() {
            unsafe {
                self.write_head(self.k_group(block, layer, head, slot), token, k, |i| self.k_index(token, i));
                self.write_head(self.v_group(block, layer, head, slot), token, v, |i| self.v_index(token, i));
            }
        }
    }

    #[inline(always)]
    unsafe fn write_head(&self, group: usize, token: usize, x: &[f32], index: impl Fn(usize) -> usize) {
        let values = group + self.precision.header_bytes();
        unsafe {
            match self.precision {
                Precision::F32 => x.iter().enumerate().for_each(|(i, &x)| *(values as *mut f32).add(index(i)) = x),
                Precision::F16 => {
                    x.iter().enumerate().for_each(|(i, &x)| *(values as *mut u16).add(index(i)) = f32_to_f16(x));
                }
                Precision::Q8 | Precision::I16 => {
                    let most = self.precision.most() as f32;
                    let largest = x.iter().fold(0.0f32, |max, x| max.max(x.abs()));
                    let inverse = if largest > 0.0 { most / largest } else { 0.0 };
                    *(group as *mut f32).add(token) = largest / most;
                    for (i, &x) in x.iter().enumerate() {
                        let integer = libm::rintf(x * inverse);
                        if self.precision == Precision::Q8 {
                            *(values as *mut i8).add(index(i)) = integer as i8;
                        } else {
                            *(values as *mut i16).add(index(i)) = integer as i16;
                        }
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
