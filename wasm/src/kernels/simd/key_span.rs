//! Where the keys and values of a sequence lie: its block table as spans of groups of four tokens.

use crate::kernels::Attend;
use crate::kernels::activations::ATTENTION_SPAN;

pub const SPAN_GROUPS: usize = ATTENTION_SPAN / 4;

/// Four tokens of the cache, at the first kv head.
#[derive(Clone, Copy)]
pub struct Group {
    pub k: *const u8,
    pub v: *const u8,
    /// Of the first token.
    pub position: usize,
    /// Tokens that exist, 1 to 4: a block, and the tile's last key, may end within the group.
    pub num_keys: usize,
}

impl Group {
    pub const EMPTY: Group = Group { k: core::ptr::null(), v: core::ptr::null(), position: 0, num_keys: 0 };
}

/// The next slots of a sequence, block by block.
pub struct Cursor {
    logical_block: usize,
    slot: usize,
    /// Of a block, whole groups.
    num_slots: usize,
}

impl Cursor {
    /// At the start of the span that holds `key`.
    pub fn at_span_of(task: &Attend, key: usize) -> Cursor {
        let tokens = task.pool.block_tokens;
        let num_slots = tokens.next_multiple_of(4);
        let start = (key / tokens * num_slots + key % tokens) / ATTENTION_SPAN * ATTENTION_SPAN;
        Cursor { logical_block: start / num_slots, slot: start % num_slots, num_slots }
    }

    /// Groups of the next span that hold keys before `end_key`.
    pub fn next_span<'a>(&mut self, task: &Attend, end_key: usize, span: &'a mut [Group; SPAN_GROUPS]) -> &'a [Group] {
        let pool = task.pool;
        let mut count = 0;
        for group in span.iter_mut() {
            let position = self.logical_block * pool.block_tokens + self.slot;
            if position >= end_key {
                break;
            }
            let block = task.table[self.logical_block] as usize;
            *group = Group {
                k: pool.k_group(block, task.layer, 0, self.slot) as *const u8,
                v: pool.v_group(block, task.layer, 0, self.slot) as *const u8,
                position,
                num_keys: 4.min(end_key - position).min(pool.block_tokens - self.slot),
            };
            count += 1;
            self.slot += 4;
            if self.slot == self.num_slots {
                (self.logical_block, self.slot) = (self.logical_block + 1, 0);
            }
        }
        &span[..count]
    }
}
