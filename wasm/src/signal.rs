//! Where the host's runtime says that the time for computing is nearly over.
//!
//! Workers write SIGXCPU (24) into the word named `__instance_signal` when the CPU time of the running invocation is
//! nearly used up, and never look at what the module makes of it. The engine does not look either: the host reads the word
//! once a step (`src/backends/cpu/cpu-signal.ts`). A non-zero `__instance_terminated` tells the runtime that nobody listens
//! any more, so that it lets go of the memory; the runtime writes it, too, when it ends an isolate for good.
//! (workerd, `io/tracked-wasm-instance.h`.)

use core::sync::atomic::AtomicU32;

/// What no runtime writes: one that knows the word puts 0 in its place when it instantiates the module.
const UNTOUCHED: u32 = 0xffff;

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static __instance_signal: AtomicU32 = AtomicU32::new(UNTOUCHED);

#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static __instance_terminated: AtomicU32 = AtomicU32::new(0);
