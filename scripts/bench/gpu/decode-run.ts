/** Prefill and decode of a GPU backend, a step at a time, without a scheduler: what the engine alone can do. */
import type { GpuBackend } from "../../../src/backends/gpu/gpu-backend.ts";
import type { BlockCopy, RowOutput } from "../../../src/serving/backend.ts";
import { GREEDY } from "../../../test/support/sampling.ts";
import { placeSequence, promptTokens, type RunningSequence } from "../running-sequences.ts";
import { quantile, round } from "../statistics.ts";
import { kvTokenBytes } from "./random-model.ts";

export interface DecodeResult {
  batch: number;
  contextTokens: number;
  tokensPerS: number;
  stepMs: number;
  p99StepMs: number;
  /** Weights once, and everyone's keys and values, by the step's time. */
  gbPerS: number;
  /** Of memory read in one stream; null where that was not measured. */
  ofRead: number | null;
}

export interface DecodeOptions {
  batch: number;
  contextTokens: number;
  /** At least so many steps, and so long. */
  stepsMin: number;
  stepsMax: number;
  leastMs: number;
  readGbPerS: number | undefined;
}

/** A prompt in as many steps as it takes. @returns seconds; the next token is drawn */
export async function prefill(backend: GpuBackend, sequence: RunningSequence, tokens: number[]): Promise<number> {
  const { maxBatchTokens } = backend.limits;
  const beganMs = performance.now();
  for (let from = 0; from < tokens.length; from += maxBatchTokens) {
    const chunk = tokens.slice(from, from + maxBatchTokens);
    const isLast = from + chunk.length === tokens.length;
    const outputs = isLast ? [greedy(chunk.length - 1)] : [];
    const one = { tokens: chunk, startPosition: from, blockTable: sequence.blockTable, outputs };
    const { rows } = await backend.step({ copies: [], sequences: [one] });
    if (isLast) sequence.nextToken = rows[0]!.token;
  }
  sequence.position = tokens.length;
  return (performance.now() - beganMs) / 1000;
}

/** One prompt is computed; all others are copies of its blocks, so that everyone reads memory of its own. */
export async function measureDecode(backend: GpuBackend, options: DecodeOptions): Promise<DecodeResult> {
  const { batch, contextTokens, stepsMin, stepsMax, leastMs, readGbPerS } = options;
  const { vocabSize, blockTokens } = backend.limits;
  const room = contextTokens + stepsMax + WARM_STEPS + 1;
  const sequences = Array.from({ length: batch }, (_, i) => placeSequence(backend.limits, room, i));
  const [first] = sequences as [RunningSequence];
  await prefill(backend, first, promptTokens(contextTokens, vocabSize));
  const numBlocks = Math.ceil(contextTokens / blockTokens);
  const copies = sequences.slice(1).flatMap(({ blockTable }) => {
    return Array.from({ length: numBlocks }, (_, i): BlockCopy => ({ from: first.blockTable[i]!, to: blockTable[i]! }));
  });
  for (const sequence of sequences.slice(1)) Object.assign(sequence, { position: contextTokens, nextToken: 1 });
  await decodeStep(backend, sequences, copies);
  for (let i = 1; i < WARM_STEPS; i++) await decodeStep(backend, sequences);

  const stepsMs: number[] = [];
  const beganMs = performance.now();
  while (stepsMs.length < stepsMax && (stepsMs.length < stepsMin || performance.now() - beganMs < leastMs)) {
    const stepBeganMs = performance.now();
    await decodeStep(backend, sequences);
    stepsMs.push(performance.now() - stepBeganMs);
  }
  const seconds = (performance.now() - beganMs) / 1000;
  stepsMs.sort((a, b) => a - b);
  const stepMs = quantile(stepsMs, 0.5);
  const gbPerS = (backend.memory.weightsBytes + batch * contextTokens * kvTokenBytes(backend)) / 1e6 / stepMs;
  return {
    batch,
    contextTokens,
    tokensPerS: round((batch * stepsMs.length) / seconds),
    stepMs: round(stepMs),
    p99StepMs: round(quantile(stepsMs, 0.99)),
    gbPerS: round(gbPerS),
    ofRead: readGbPerS === undefined ? null : round(gbPerS / readGbPerS),
  };
}

const WARM_STEPS = 3;

/** One token for each sequence. */
async function decodeStep(
  backend: GpuBackend,
  sequences: readonly RunningSequence[],
  copies: BlockCopy[] = [],
): Promise<void> {
  const { rows } = await backend.step({
    copies,
    sequences: sequences.map(({ nextToken, position, blockTable }) => {
      return { tokens: [nextToken], startPosition: position, blockTable, outputs: [greedy(0)] };
    }),
  });
  for (const [i, sequence] of sequences.entries()) {
    sequence.nextToken = rows[i]!.token;
    sequence.position++;
  }
}

function greedy(row: number): RowOutput {
  const sample = {
    params: GREEDY,
    rngKey: [1, 2] as [number, number],
    rngCounter: 0,
    promptTokens: [],
    outputTokens: [],
    allowed: null,
  };
  return { row, sample, scoreToken: null, numLogprobs: null, wantLogits: false };
}
