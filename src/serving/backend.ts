/**
 * The heart: what the scheduler asks of an engine, the same for every backend (scalar, SIMD128, relaxed SIMD, WGSL).
 * The scheduler owns every block and decides everything; a backend computes one step and keeps no state but weights
 * and the KV pool. `test/contract/backend.contract.ts` is the executable form of this page.
 *
 * Invariants the scheduler keeps and a backend may rely on (and must refuse with an Error, not with wrong numbers or a
 * trap, when broken):
 *  - a sequence's KV for positions [0, startPosition) was written by earlier steps, in the blocks its table names;
 *  - its table covers positions [0, startPosition + tokens.length): block i holds positions [i·B, (i+1)·B);
 *  - a block written in a step is in no other table of that step; a block that is only read may be shared;
 *  - `copies` run before anything else of the step;
 *  - the sum of tokens over all sequences is at most `limits.maxBatchTokens`.
 *
 * Batch invariance: a sequence's results do not depend on what else is in the batch, nor on how its prompt was cut
 * into steps, nor on which physical blocks it holds. Bit for bit within one backend.
 */
import type { SamplingParams } from "../protocol/generate.ts";

export type MaybePromise<T> = T | Promise<T>;

export interface BackendLimits {
  vocabSize: number;
  /** Longest sequence, prompt and output together. */
  contextLength: number;
  /** Tokens of a KV block. */
  blockTokens: number;
  /** Blocks of the KV pool; physical ids are 0 … numBlocks − 1. */
  numBlocks: number;
  /** Most tokens (over all sequences) of one step. */
  maxBatchTokens: number;
  /** Most sequences of one step. */
  maxBatchSequences: number;
  /** LoRA adapters that were loaded: sequences may name 1 … numAdapters. */
  numAdapters: number;
}

export interface Backend {
  readonly limits: BackendLimits;
  /** Which build runs, for logs and /health: "wasm-relaxed-simd", "wasm-simd128", "wasm-scalar", "webgpu". */
  readonly name: string;
  /** Bytes held, by owner; the sum is what the isolate's budget table counts. */
  readonly memory: { weightsBytes: number; kvBytes: number; scratchBytes: number };
  /**
   * Time that each further row of a decode adds to a step with one row, as a share of that step; measured, for this
   * model's size and this machine's kind. Absent = not known, and then nothing is speculated unless it is asked for.
   */
  readonly rowCost?: number;
  /**
   * Computes one step. A CPU backend answers synchronously, a GPU with a promise. Throws `BackendCrash` when the engine
   * is lost (a WASM trap, a lost device): then every block's content is gone and the backend must be built anew. Any
   * other Error means this batch was refused and nothing was changed.
   */
  step(batch: StepBatch): MaybePromise<StepResult>;
  /**
   * A copy of what a block holds, all layers, in this backend's own layout and precision. Another backend of the same
   * build, model and options goes on from it with the same results, bit for bit. Only between steps, as `writeBlock`.
   * A GPU answers with a promise, and its blocks cannot be archived (`saveBlocks`).
   */
  readBlock(block: number): MaybePromise<Uint8Array<ArrayBuffer>>;
  /** Replaces what a block holds. Throws for another length than `readBlock` gives, and then changes nothing. */
  writeBlock(block: number, bytes: Uint8Array): void;
  /** Frees what the backend holds. No call is allowed afterwards. */
  dispose(): void;
}

/** The engine behind a backend is lost; its cause is kept. */
export class BackendCrash extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = "BackendCrash";
  }
}

export interface StepBatch {
  /** Whole-block copies for copy-on-write, in order. */
  copies: BlockCopy[];
  sequences: StepSequence[];
}

export interface BlockCopy {
  from: number;
  to: number;
}

export interface StepSequence {
  /** Tokens to run in this step: a prefill chunk, or one token in decode. At least one. */
  tokens: ArrayLike<number>;
  /** Position of tokens[0]. */
  startPosition: number;
  /** Physical block of each logical block; may be longer than this step needs. */
  blockTable: ArrayLike<number>;
  /** The adapter that its tokens run with, now as in the steps before; absent or 0 = the base alone. */
  adapter?: number;
  /** Rows of this step whose output is wanted; empty for an inner prefill chunk. A row may be named more than once
   * (parallel samples of one prompt). The LM head runs for these rows only. */
  outputs: RowOutput[];
}

/** What to do with the logits of one row. */
export interface RowOutput {
  /** Index into `tokens`. */
  row: number;
  /** null = draw nothing (prompt logprobs). */
  sample: RowSample | null;
  /** Report the logprob of this token (an echoed prompt token); null = of the sampled one. */
  scoreToken: number | null;
  /** Number of most likely alternatives to report; null = report no logprobs at all. */
  numLogprobs: number | null;
  /** Copy the raw logits out (tests). */
  wantLogits: boolean;
  /** Copy out the row as the LM head would read it, behind the final norm. A row that wants nothing else does not go
   * through the head. */
  wantEmbedding?: boolean;
}

export interface RowSample {
  params: SamplingParams;
  /** 64-bit key as [low, high] u32; with `rngCounter` it alone determines the draw (counter-based generator). */
  rngKey: [number, number];
  /** Index of the token being generated within its choice: 0, 1, 2, … */
  rngCounter: number;
  /** For the repetition penalty. Read only when a penalty is set. */
  promptTokens: ArrayLike<number>;
  /** For all three penalties. */
  outputTokens: ArrayLike<number>;
  /**
   * Bit t & 31 of word t >> 5 is set where token t may be drawn: ⌈vocabulary / 32⌉ words with at least one such bit.
   * Others have probability 0, whatever their logit, penalty or bias is. null = all may be. Only read, and only in the step.
   */
  allowed: Uint32Array | null;
}

export interface StepResult {
  /** One for each RowOutput, in the order of the batch (sequence by sequence, output by output). */
  rows: RowResult[];
}

export interface RowResult {
  /** Sampled token, or −1 where nothing was drawn. */
  token: number;
  /** Log softmax of the raw logits at `scoreToken` or the sampled token; null where not asked for. */
  logprob: number | null;
  /** `numLogprobs` most likely tokens, most likely first, ties by lower id. */
  top: { token: number; logprob: number }[];
  logits: Float32Array | null;
  /** Absent where not asked for. */
  embedding?: Float32Array;
}
