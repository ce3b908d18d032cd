/**
 * What the runtime says about CPU time through linear memory (`wasm/src/signal.rs`): two words of the module's own, at
 * addresses that it exports. Workers write the first when the running invocation has nearly used up its time. Read by the
 * host, once a step, never by the kernels.
 */
import type { CpuExports } from "./exports.ts";

/** SIGXCPU. */
const NEARLY_OUT_OF_TIME = 24;

export class CpuSignal {
  readonly #signal: Uint32Array;
  readonly #terminated: Uint32Array;

  /** After the memory has its final size: a view does not outlive its growing. */
  constructor({ memory, __instance_signal, __instance_terminated }: CpuExports) {
    this.#signal = new Uint32Array(memory.buffer, __instance_signal.value, 1);
    this.#terminated = new Uint32Array(memory.buffer, __instance_terminated.value, 1);
  }

  /** Whether the runtime has said so since the last call. A runtime that knows no signal never does. */
  take(): boolean {
    if (this.#signal[0] !== NEARLY_OUT_OF_TIME) return false;
    // The next invocation has time of its own.
    this.#signal[0] = 0;
    return true;
  }

  /** Nobody listens any more: the runtime may let go of the memory without waiting for the instance to be collected. */
  close(): void {
    this.#terminated[0] = 1;
  }
}
