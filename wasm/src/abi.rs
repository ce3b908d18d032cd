//! Everything the host may call. Numbers only; addresses are bytes in linear memory.

use crate::block_format::Format;
use crate::config::{ABI_VERSION, Config};
use crate::forward::Forward;
use crate::kernels::{self, ActBlock, Activations, Attend};
use crate::kv_pool::KvPool;
use crate::matrix::Matrix;
use crate::memory::{in_memory, view, view_mut};
use crate::scratch::Scratch;
use crate::step::Step;
use crate::{kv_pool, pack, sampler};

const WRONG_VERSION: i32 = -1;

#[unsafe(no_mangle)]
pub extern "C" fn abi_version() -> u32 {
    ABI_VERSION
}

/// End of what the module itself keeps in memory, its stack and constants, as the linker laid it out. The host's regions
/// lie beyond it.
#[unsafe(no_mangle)]
pub extern "C" fn heap_base() -> usize {
    unsafe extern "C" {
        static __heap_base: u8;
    }
    &raw const __heap_base as usize
}

/// Bytes of a packed [rows, cols] matrix; 0 when the type is unknown or a row holds no whole number of its blocks.
#[unsafe(no_mangle)]
pub extern "C" fn packed_bytes(format: u32, rows: usize, cols: usize) -> usize {
    Format::from_id(format).and_then(|format| format.packed_bytes(rows, cols)).unwrap_or(0)
}

/// Bytes of scratch that the descriptor at `model` asks for; 0 for another version.
#[unsafe(no_mangle)]
pub extern "C" fn scratch_bytes(model: usize) -> usize {
    unsafe { Config::read(model) }.map_or(0, |config| Scratch::bytes(&config))
}

/// Bytes of one KV block, all layers; 0 for another version.
#[unsafe(no_mangle)]
pub extern "C" fn kv_block_bytes(model: usize) -> usize {
    unsafe { Config::read(model) }.map_or(0, |config| kv_pool::block_bytes(&config))
}

/// 0 when the descriptor is sound; otherwise −1 (another version) or the number of the broken rule.
#[unsafe(no_mangle)]
pub extern "C" fn check_model(model: usize) -> i32 {
    unsafe { Config::read(model) }.map_or(WRONG_VERSION, |config| config.check())
}

/// Packs file blocks into a matrix of `rows` rows; see `pack::pack_blocks`. Returns 0, or 1 when anything would lie
/// outside the matrix or the memory.
#[unsafe(no_mangle)]
pub extern "C" fn pack_blocks(
    format: u32,
    rows: usize,
    cols: usize,
    packed: usize,
    first_block: usize,
    source: usize,
    num_blocks: usize,
) -> i32 {
    let Some(format) = Format::from_id(format) else { return 1 };
    let Some(bytes) = format.packed_bytes(rows, cols) else { return 1 };
    let total_blocks = rows * (cols / format.block_elements());
    if !in_memory(packed, bytes, 1)
        || !in_memory(source, num_blocks, format.file_block_bytes())
        || first_block.checked_add(num_blocks).is_none_or(|end| end > total_blocks)
    {
        return 1;
    }
    // SAFETY: the three ranges were just checked.
    unsafe { pack::pack_blocks(format, cols, packed as *mut u8, first_block, source as *const u8, num_blocks) };
    0
}

/// Runs the step in the staging region: block copies, forward pass, logits and sampling. With no tokens the forward pass
/// is left out and outputs are taken from rows of the step before. Returns 0, −1 for another version, or the number of
/// the rule the step breaks; it was refused then and nothing was changed.
#[unsafe(no_mangle)]
pub extern "C" fn step(model: usize) -> i32 {
    // SAFETY: the host calls `check_model` once after writing the descriptor; `Step::read` checks the rest.
    unsafe {
        let Some(config) = Config::read(model) else { return WRONG_VERSION };
        let words = view(config.step_address, config.step_words);
        let step = match Step::read(words, &config) {
            Ok(step) => step,
            Err(rule) => return rule,
        };
        let forward = Forward::new(&config, &step);
        forward.run();
        forward.logits();
        sampler::run(&config, &step, config.results_address);
    }
    0
}

/// Address of the logits of the last step: [logit rows, vocab_size rounded up to 4] f32.
#[unsafe(no_mangle)]
pub extern "C" fn logits_address(model: usize) -> usize {
    unsafe { Config::read(model) }.map_or(0, |config| Scratch::carve(&config).logits)
}

/// Address of the rows of the last step behind the final norm: [head rows, d_model] f32.
#[unsafe(no_mangle)]
pub extern "C" fn normed_address(model: usize) -> usize {
    unsafe { Config::read(model) }.map_or(0, |config| Scratch::carve(&config).normed)
}

/// One matrix product by itself, for kernel tests and benchmarks: `out` [num_tokens, rows rounded up to 4] = packed matrix
/// · f32 rows at `values`. `workspace` takes cols · 4 bytes for each token and as many more. Returns 0, or 1 for a bad type or width.
#[unsafe(no_mangle)]
pub extern "C" fn debug_matmul(
    format: u32,
    rows: usize,
    cols: usize,
    packed: usize,
    values: usize,
    num_tokens: usize,
    workspace: usize,
    out: usize,
) -> i32 {
    let Some(format) = Format::from_id(format) else { return 1 };
    if format.group_bytes(cols).is_none() || cols % 4 != 0 {
        return 1;
    }
    let matrix = Matrix { format, rows, cols, data: packed as *const u8 };
    let blocks = num_tokens * cols.div_ceil(32);
    let quants16 = workspace + blocks * size_of::<ActBlock>();
    let planes = quants16 + blocks * 64;
    let scratch = Scratch { act_blocks: workspace, quants16, planes, ..Scratch::default() };
    let input = Activations::new(&scratch, values, cols);
    // SAFETY: the caller laid out the buffers as the comment says.
    unsafe {
        if format.is_quantized() {
            for token in 0..num_tokens {
                kernels::quantize(view(values + token * cols * 4, cols), &mut input.quant_row(token));
            }
        }
        kernels::matmul(&matrix, &input, num_tokens, out as *mut f32, rows.next_multiple_of(4));
    }
    0
}

/// What this engine makes of the 32-bit relaxed dot beyond the range on which all agree.
#[cfg(all(target_feature = "relaxed-simd", feature = "dot32"))]
#[unsafe(no_mangle)]
pub extern "C" fn probe_dot32() -> i32 {
    kernels::probe_dot32()
}

/// Expands one row of a packed matrix to f32, for tests.
#[unsafe(no_mangle)]
pub extern "C" fn debug_read_row(format: u32, rows: usize, cols: usize, packed: usize, row: usize, out: usize) -> i32 {
    let Some(format) = Format::from_id(format) else { return 1 };
    if format.group_bytes(cols).is_none() || row >= rows {
        return 1;
    }
    let matrix = Matrix { format, rows, cols, data: packed as *const u8 };
    // SAFETY: the caller laid out the buffers.
    unsafe { matrix.read_row(row, view_mut(out, cols)) };
    0
}

/// Writes k and v ([kv heads · head_dim] f32) of one token into the KV pool, for tests and benchmarks of attention, which
/// need a descriptor but no tensors. Returns −1 for another version.
#[unsafe(no_mangle)]
pub extern "C" fn debug_write_kv(model: usize, block: usize, layer: usize, slot: usize, k: usize, v: usize) -> i32 {
    // SAFETY: the caller laid out the regions that the descriptor names, and the two vectors.
    unsafe {
        let Some(c) = Config::read(model) else { return WRONG_VERSION };
        KvPool::new(&c).write(block, layer, slot, view(k, c.kv_dim()), view(v, c.kv_dim()));
    }
    0
}

/// Attention of `num_tokens` tokens at `queries` ([num_tokens, q_dim] f32, replaced by the result), all heads of a layer.
#[unsafe(no_mangle)]
pub extern "C" fn debug_attend(
    model: usize,
    layer: usize,
    table: usize,
    table_len: usize,
    first_position: usize,
    num_tokens: usize,
    window: usize,
    queries: usize,
) -> i32 {
    // SAFETY: as above.
    unsafe {
        let Some(c) = Config::read(model) else { return WRONG_VERSION };
        let (pool, scratch) = (KvPool::new(&c), Scratch::carve(&c));
        let task = Attend::new(&c, &pool, &scratch, layer, queries);
        kernels::attend(&Attend { table: view(table, table_len), first_position, num_tokens, window, ..task });
    }
    0
}

/// Traps as a panic would: how the tests provoke a crash of the engine.
#[unsafe(no_mangle)]
pub extern "C" fn debug_trap() {
    panic!();
}
