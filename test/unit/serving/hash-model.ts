/**
 * A language model whose arithmetic is a hash and whose KV cache is real. What it stores for a position depends on the
 * token there and on everything before it; what it reads, it reads through the block table. So a wrong table, a stale
 * or missing block, a wrong position, a forgotten copy or a shared block that was written changes its output, or is
 * refused with a message. `generateAlone` computes the same model without any cache: the truth to compare with.
 */

import type { SamplingParams } from "../../../src/protocol/generate.ts";
import type {
  Backend,
  BackendLimits,
  MaybePromise,
  RowOutput,
  RowResult,
  StepBatch,
  StepResult,
  StepSequence,
} from "../../../src/serving/backend.ts";
import { fmix32 } from "../../../src/serving/block-hash.ts";
import { allows } from "../../../src/serving/token-mask.ts";
import { GREEDY } from "../../support/sampling.ts";

export { GREEDY };

/** State of a position: its token, its place, and the states of all positions before it. */
function stateOf(token: number, position: number, adapter: number, history: (position: number) => number): number {
  let state = fmix32(token * 2654435761 + position + 1 + adapter * 1_000_003);
  for (let i = 0; i < position; i++) state = fmix32(Math.imul(state, 31) + history(i));
  return state;
}

function foldAll(state: number, tokens: ArrayLike<number>): number {
  let folded = state;
  for (let i = 0; i < tokens.length; i++) folded = fmix32(Math.imul(folded, 33) + tokens[i]!);
  return folded;
}

/** Logits of a position: uniform in [0, 8). */
function logitsOf(state: number, vocabSize: number): Float64Array {
  return Float64Array.from(
    { length: vocabSize },
    (_, id) => (fmix32(state ^ Math.imul(id + 1, 0x9e3779b1)) / 2 ** 32) * 8,
  );
}

function draw(state: number, vocabSize: number, sample: NonNullable<RowOutput["sample"]>): number {
  const { params, rngKey, rngCounter, promptTokens, outputTokens, allowed } = sample;
  let seen = state;
  if (params.repetitionPenalty !== 1) seen = foldAll(seen, promptTokens);
  if (params.repetitionPenalty !== 1 || params.presencePenalty !== 0) seen = foldAll(seen, outputTokens);
  if (params.temperature > 0) seen = fmix32(seen ^ fmix32(rngKey[0] + fmix32(rngKey[1] + rngCounter)));
  const logits = logitsOf(seen, vocabSize);
  for (const [id, bias] of params.logitBias) logits[id]! += bias;
  if (allowed !== null) for (const id of logits.keys()) if (!allows(allowed, id)) logits[id] = -Infinity;
  return logits.indexOf(Math.max(...logits));
}

/** Most likely first, ties by lower id. */
function rankedLogprobs(state: number, vocabSize: number): RowResult["top"] {
  const logits = logitsOf(state, vocabSize);
  const logSum = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
  const ranked = Array.from(logits, (logit, token) => ({ token, logprob: logit - logSum }));
  return ranked.sort((a, b) => b.logprob - a.logprob || a.token - b.token);
}

export const EMBEDDING_WIDTH = 6;

function embeddingOf(state: number): Float32Array {
  return Float32Array.from(
    { length: EMBEDDING_WIDTH },
    (_, i) => fmix32(state ^ Math.imul(i + 1, 0x85ebca6b)) / 2 ** 31 - 1,
  );
}

function rowOf(state: number, vocabSize: number, output: RowOutput): RowResult {
  const row = scoredRow(state, vocabSize, output);
  return output.wantEmbedding ? { ...row, embedding: embeddingOf(state) } : row;
}

function scoredRow(state: number, vocabSize: number, output: RowOutput): RowResult {
  const token = output.sample === null ? -1 : draw(state, vocabSize, output.sample);
  if (output.numLogprobs === null) return { token, logprob: null, top: [], logits: null };
  const ranked = rankedLogprobs(state, vocabSize);
  const scored = output.scoreToken ?? token;
  const { logprob } = ranked.find((one) => one.token === scored)!;
  return { token, logprob, top: ranked.slice(0, output.numLogprobs), logits: null };
}

/** What one sequence generates with the whole machine to itself and no cache. */
export function generateAlone(
  prompt: readonly number[],
  options: {
    numTokens: number;
    vocabSize: number;
    sampling?: SamplingParams;
    rngKey?: [number, number];
    adapter?: number;
    /** What may come behind these tokens. */
    allowedAfter?: (outputTokens: readonly number[]) => Uint32Array | null;
  },
): number[] {
  const states: number[] = [];
  const outputTokens: number[] = [];
  for (let position = 0; outputTokens.length < options.numTokens; position++) {
    const token = position < prompt.length ? prompt[position]! : outputTokens[position - prompt.length]!;
    states.push(stateOf(token, position, options.adapter ?? 0, (i) => states[i]!));
    if (position < prompt.length - 1) continue;
    const sample = {
      params: options.sampling ?? GREEDY,
      rngKey: options.rngKey ?? ([0, 0] as [number, number]),
      rngCounter: outputTokens.length,
      promptTokens: prompt,
      outputTokens,
      allowed: options.allowedAfter?.(outputTokens) ?? null,
    };
    outputTokens.push(draw(states[position]!, options.vocabSize, sample));
  }
  return outputTokens;
}

/** Logprob of each prompt token after the first, and its best alternatives, without a cache. */
export function scoreAlone(
  prompt: readonly number[],
  vocabSize: number,
  numLogprobs: number,
  adapter = 0,
): RowResult[] {
  const states: number[] = [];
  return prompt.slice(1).map((next, position) => {
    states.push(stateOf(prompt[position]!, position, adapter, (i) => states[i]!));
    const output = { row: 0, sample: null, scoreToken: next, numLogprobs, wantLogits: false };
    return rowOf(states[position]!, vocabSize, output);
  });
}

/** What the head would read at each of these tokens, without a cache. */
export function embeddingsAlone(tokens: readonly number[]): Float32Array[] {
  const states: number[] = [];
  for (const [position, token] of tokens.entries()) states.push(stateOf(token, position, 0, (i) => states[i]!));
  return states.map(embeddingOf);
}

/** What may follow these tokens, most likely first, without a cache. */
export function logprobsAlone(tokens: readonly number[], vocabSize: number): RowResult["top"] {
  const states: number[] = [];
  for (const [position, token] of tokens.entries()) states.push(stateOf(token, position, 0, (i) => states[i]!));
  return rankedLogprobs(states.at(-1)!, vocabSize);
}

export class HashModelBackend implements Backend {
  readonly limits: BackendLimits;
  readonly name = "hash-model";
  readonly rowCost?: number;
  readonly memory = { weightsBytes: 0, kvBytes: 0, scratchBytes: 0 };
  /** Answer with a promise, as a GPU does. */
  isAsynchronous = false;
  /** Thrown by the next step. */
  nextError: Error | null = null;
  /** Tokens of each step, by sequence. */
  readonly stepSizes: number[][] = [];
  /** Called before each step, with its batch. */
  onStep: ((batch: StepBatch) => void) | null = null;
  /** NaN where nothing was written, or what was written may not be read any more. */
  readonly #states: Float64Array;
  readonly #positions: Int32Array;

  constructor(limits: Partial<BackendLimits> = {}, rowCost?: number) {
    if (rowCost !== undefined) this.rowCost = rowCost;
    this.limits = {
      vocabSize: 32,
      contextLength: 256,
      blockTokens: 4,
      numBlocks: 64,
      maxBatchTokens: 64,
      maxBatchSequences: 16,
      numAdapters: 0,
      ...limits,
    };
    this.#states = new Float64Array(this.limits.numBlocks * this.limits.blockTokens).fill(Number.NaN);
    this.#positions = new Int32Array(this.#states.length).fill(-1);
  }

  step(batch: StepBatch): MaybePromise<StepResult> {
    this.onStep?.(batch);
    const error = this.nextError;
    this.nextError = null;
    if (this.isAsynchronous) {
      // As on a GPU: the batch is read at once, the answer comes later.
      const result = error === null ? this.#compute(batch) : null;
      return Promise.resolve().then(() => {
        if (result === null) throw error;
        return result;
      });
    }
    if (error !== null) throw error;
    return this.#compute(batch);
  }

  /** Makes whatever these blocks hold unreadable. */
  poison(blocks: Iterable<number>): void {
    const { blockTokens } = this.limits;
    for (const block of blocks) this.#states.fill(Number.NaN, block * blockTokens, (block + 1) * blockTokens);
  }

  readBlock(block: number): Uint8Array<ArrayBuffer> {
    const { states, positions } = this.#slotsOf(block);
    const bytes = new Uint8Array(states.byteLength + positions.byteLength);
    bytes.set(new Uint8Array(states.slice().buffer));
    bytes.set(new Uint8Array(positions.slice().buffer), states.byteLength);
    return bytes;
  }

  writeBlock(block: number, bytes: Uint8Array): void {
    const { states, positions } = this.#slotsOf(block);
    if (bytes.length !== states.byteLength + positions.byteLength) throw new RangeError(`${bytes.length} bytes.`);
    const copy = bytes.slice().buffer;
    states.set(new Float64Array(copy, 0, states.length));
    positions.set(new Int32Array(copy, states.byteLength));
  }

  dispose(): void {}

  #slotsOf(block: number) {
    const { blockTokens, numBlocks } = this.limits;
    if (!(block >= 0 && block < numBlocks)) throw new RangeError(`Block ${block} does not exist.`);
    const range = [block * blockTokens, (block + 1) * blockTokens] as const;
    return { states: this.#states.subarray(...range), positions: this.#positions.subarray(...range) };
  }

  #compute(batch: StepBatch): StepResult {
    this.#check(batch);
    this.stepSizes.push(batch.sequences.map((sequence) => sequence.tokens.length));
    const { blockTokens } = this.limits;
    for (const { from, to } of batch.copies) {
      for (const slots of [this.#states, this.#positions]) {
        slots.copyWithin(to * blockTokens, from * blockTokens, (from + 1) * blockTokens);
      }
    }
    return { rows: batch.sequences.flatMap((sequence) => this.#run(sequence)) };
  }

  #run({ tokens, startPosition, blockTable, outputs, adapter = 0 }: StepSequence): RowResult[] {
    const { blockTokens, vocabSize } = this.limits;
    const slotOf = (position: number) =>
      blockTable[Math.floor(position / blockTokens)]! * blockTokens + (position % blockTokens);
    const states: number[] = [];
    for (let i = 0; i < tokens.length; i++) {
      const position = startPosition + i;
      const state = stateOf(tokens[i]!, position, adapter, (past) => {
        const slot = slotOf(past);
        const value = this.#states[slot]!;
        if (Number.isNaN(value)) throw new Error(`Position ${past} is read from slot ${slot}, which holds nothing.`);
        if (this.#positions[slot] !== past) {
          throw new Error(`Slot ${slot} holds position ${this.#positions[slot]}, read as ${past}.`);
        }
        return value;
      });
      this.#states[slotOf(position)] = state;
      this.#positions[slotOf(position)] = position;
      states.push(state);
    }
    return outputs.map((output) => rowOf(states[output.row]!, vocabSize, output));
  }

  /** The invariants that `backend.ts` promises to a backend. */
  #check(batch: StepBatch): void {
    const { blockTokens, numBlocks, maxBatchTokens, maxBatchSequences, contextLength, vocabSize } = this.limits;
    const numTokens = batch.sequences.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
    if (numTokens > maxBatchTokens) throw new Error(`${numTokens} tokens in a step of at most ${maxBatchTokens}.`);
    if (batch.sequences.length > maxBatchSequences) throw new Error(`${batch.sequences.length} sequences in a step.`);
    const numTables = new Map<number, number>();
    for (const { blockTable } of batch.sequences) {
      for (const block of Array.from(blockTable)) {
        if (!(block >= 0 && block < numBlocks)) throw new Error(`Block ${block} does not exist.`);
        numTables.set(block, (numTables.get(block) ?? 0) + 1);
      }
    }
    for (const { tokens, startPosition, blockTable, outputs, adapter = 0 } of batch.sequences) {
      if (!(adapter >= 0 && adapter <= this.limits.numAdapters)) throw new Error(`Adapter ${adapter}.`);
      const end = startPosition + tokens.length;
      if (tokens.length < 1 || end > contextLength) throw new Error(`Positions ${startPosition} to ${end}.`);
      if (blockTable.length * blockTokens < end) throw new Error(`${blockTable.length} blocks for ${end} positions.`);
      for (let i = Math.floor(startPosition / blockTokens); i < Math.ceil(end / blockTokens); i++) {
        if (numTables.get(blockTable[i]!) !== 1) throw new Error(`Block ${blockTable[i]} is written and shared.`);
      }
      if (Array.from(tokens).some((id) => !(id >= 0 && id < vocabSize))) throw new Error(`Tokens ${tokens}.`);
      if (outputs.some(({ row }) => !(row >= 0 && row < tokens.length))) throw new Error("A row is outside its step.");
    }
  }
}
