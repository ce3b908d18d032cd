/**
 * How much of its CPU time an invocation has used, as far as that can be known from inside.
 *
 * Cloudflare counts CPU per invocation (30 s, up to 5 min by `limits.cpu_ms`) and kills what passes it. Three things tell:
 *  - the runtime's own signal (`src/backends/cpu/cpu-signal.ts`), where it gives one: nearly over, stop now;
 *  - the clock. It stands still while a Worker computes and is right again after each pause between steps, and an isolate
 *    is one thread: what it shows is at least the CPU time used, never less, as soon as it moves at all;
 *  - the work: bytes of weights that were multiplied, and of KV that was restored. It needs no clock, so it holds where
 *    that stands still for ever.
 * Whoever computes a step pays for it, all sequences of it: that is how CPU time is counted, too. Saving is not counted: a
 * token's KV is saved once, and that is less than a hundredth of computing the token.
 */

/**
 * A fifth of the slowest that `docs/benchmarks/engine.json` has for any model and any kind of step, because the
 * platform's processors are not the one that was measured on. Too low a rate only means to go on elsewhere earlier.
 */
const WEIGHT_BYTES_PER_MS = 2_000_000;
/** A fifth, too, of what reading, checking and copying a row of storage comes to. */
const KV_BYTES_PER_MS = 50_000;

export interface StepWork {
  numTokens: number;
  weightsBytes: number;
  /** From storage. */
  restoredBytes: number;
  /** The runtime said that time is nearly over. */
  isNearlyOver: boolean;
}

export class CpuBudget {
  readonly #limitMs: number;
  readonly #nowMs: () => number;
  readonly #startedAtMs: number;
  #estimatedMs = 0;
  #isNearlyOver = false;

  /** @param limitMs Infinity = only the runtime's signal counts */
  constructor(limitMs: number, nowMs: () => number) {
    this.#limitMs = limitMs;
    this.#nowMs = nowMs;
    this.#startedAtMs = nowMs();
  }

  spend({ numTokens, weightsBytes, restoredBytes, isNearlyOver }: StepWork): void {
    this.#estimatedMs += (numTokens * weightsBytes) / WEIGHT_BYTES_PER_MS + restoredBytes / KV_BYTES_PER_MS;
    this.#isNearlyOver ||= isNearlyOver;
  }

  /** Time to checkpoint and go on in another invocation. Not before the first step, so that every one gets somewhere. */
  get isSpent(): boolean {
    if (this.#isNearlyOver) return true;
    if (this.#estimatedMs === 0) return false;
    return Math.max(this.#estimatedMs, this.#nowMs() - this.#startedAtMs) >= this.#limitMs;
  }
}
