//! The CPU engine of runnel: packed weights, the forward pass over a model descriptor, paged KV and the sampler.
//!
//! Invariants:
//!  - The crate owns no memory. TypeScript lays out the linear memory (weights, KV pool, scratch, staging) and passes
//!    addresses; nothing is allocated here, ever, and no state outlives a call but what lies in those regions.
//!  - One source, three builds: without SIMD (the readable reference), `+simd128`, `+simd128,+relaxed-simd`.
//!    `kernels` is compiled with one of its sets; everything above it is the same code.
//!  - What is computed for a row never depends on what else is in the batch, bit for bit within one build.
//!
//! Why no wasm-bindgen glue: workerd instantiates a statically imported module, and numbers are all that crosses.
#![no_std]

mod abi;
mod block_format;
mod config;
mod float16;
mod forward;
mod kernels;
mod kv_pool;
mod layers;
mod matrix;
mod memory;
mod pack;
mod rope;
mod sampler;
mod scratch;
mod signal;
mod step;

/// A panic is a bug: it traps, and the host answers by rebuilding the engine (`BackendCrash`).
#[cfg(target_arch = "wasm32")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
