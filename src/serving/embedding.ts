/**
 * One request for vectors: its prompts run through the scheduler like the prompts of answers, and what the LM head would
 * read of them becomes a vector each, the mean of all rows or the last one, made a unit vector.
 *
 * Nothing runs in the background: whoever wants the result calls `step` until it is there. Only a few prompts are in the
 * engine at once, so that a long list leaves room for others.
 */
import type { Embeddings } from "../protocol/embed.ts";
import { ApiError, internalError } from "../protocol/errors.ts";
import { GREEDY } from "../protocol/greedy.ts";
import type { MaybePromise } from "./backend.ts";
import type { Engine } from "./engine.ts";
import { Sequence } from "./sequence.ts";

/** "last" as vLLM does for decoders whose file names no pooling; llama.cpp wants it named. */
export type Pooling = "mean" | "last";

/** Prompts of one request in the engine at once. */
const NUM_OPEN_MAX = 4;

export interface TextEmbeddingOptions {
  requestId: string;
  model: string;
  /** See `SequenceOptions`. */
  adapter: number;
  prompts: readonly (readonly number[])[];
  pooling: Pooling;
  /** Components of a vector, from the first on; null = all. */
  dimensions: number | null;
  cacheSalt: string;
  engine: Engine;
}

export class TextEmbedding {
  readonly requestId: string;
  readonly #options: TextEmbeddingOptions;
  readonly #vectors: Float32Array[] = [];
  readonly #open = new Set<Sequence>();
  #numBegun = 0;
  #numDone = 0;
  #error: ApiError | null = null;
  #isAborted = false;

  /** @throws ApiError 429 where the queue has no place for any of them */
  constructor(options: TextEmbeddingOptions) {
    this.#options = options;
    this.requestId = options.requestId;
    this.begin();
  }

  get hasEnded(): boolean {
    return this.#isAborted || this.#error !== null || this.#numDone === this.#options.prompts.length;
  }

  /** Nobody has to be waited for. */
  get isDrained(): boolean {
    return this.hasEnded;
  }

  /** It has no events. */
  readonly heldBytes = 0;

  /** One step of the engine for everybody. @returns false when there is nothing to do, or no backend to do it */
  step(): MaybePromise<boolean> {
    this.begin();
    return this.#options.engine.step();
  }

  /** Once it has ended. @throws ApiError what failed */
  result(): Embeddings {
    if (this.#error !== null) throw this.#error;
    if (!this.hasEnded || this.#isAborted) throw new Error(`Request ${this.requestId} has no vectors.`);
    const { model, prompts } = this.#options;
    const promptTokens = prompts.reduce((sum, { length }) => sum + length, 0);
    return { model, vectors: this.#vectors, promptTokens };
  }

  /** Frees places and blocks at once. Safe at any time, any number of times. */
  abort(): void {
    this.#isAborted = true;
    for (const sequence of this.#open) this.#options.engine.abort(sequence);
    this.#open.clear();
  }

  /** Puts as many of its prompts into the engine as may be there. */
  begin(): void {
    const { prompts, engine } = this.#options;
    while (!this.hasEnded && this.#open.size < NUM_OPEN_MAX && this.#numBegun < prompts.length) {
      const sequence = this.#sequenceOf(this.#numBegun);
      try {
        engine.add([sequence]);
      } catch (error) {
        // Its own ones make room when they are done.
        if (this.#open.size > 0) return;
        if (this.#numBegun === 0) throw error;
        this.#fail(error);
        return;
      }
      this.#open.add(sequence);
      this.#numBegun++;
    }
  }

  #sequenceOf(index: number): Sequence {
    const { requestId, prompts, pooling, cacheSalt, adapter } = this.#options;
    let sum: Float64Array | null = null;
    const sequence: Sequence = new Sequence({
      requestId,
      promptTokens: prompts[index]!,
      maxTokens: 0,
      sampling: GREEDY,
      rngKey: [0, 0],
      numLogprobs: null,
      scorePrompt: false,
      embeds: pooling === "mean" ? "all" : "last",
      cacheSalt,
      adapter,
      listener: {
        admitted() {},
        promptScored: (_, { embedding }) => {
          sum ??= new Float64Array(embedding!.length);
          for (const [i, value] of embedding!.entries()) sum[i]! += value;
        },
        prefilled() {},
        token: () => true,
        finished: () => {
          this.#open.delete(sequence);
          this.#vectors[index] = this.#unit(sum!);
          this.#numDone++;
        },
        failed: (error) => this.#fail(error),
      },
    });
    return sequence;
  }

  /** A mean and a sum have the same direction. */
  #unit(sum: Float64Array): Float32Array {
    const vector = Float32Array.from(sum.subarray(0, this.#options.dimensions ?? sum.length));
    const length = Math.hypot(...vector);
    return length > 0 ? vector.map((value) => value / length) : vector;
  }

  #fail(error: unknown): void {
    if (this.hasEnded) return;
    this.#error = error instanceof ApiError ? error : internalError(this.requestId);
    for (const sequence of this.#open) this.#options.engine.abort(sequence);
    this.#open.clear();
  }
}
