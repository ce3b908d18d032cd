/** Drives a backend as the scheduler does: prefill in chunks, decode of several sequences a step, tokens fed back. */
import type { SamplingParams } from "../../src/protocol/generate.ts";
import type { BackendLimits, RowOutput, StepBatch, StepResult } from "../../src/serving/backend.ts";
import { GREEDY } from "../../test/support/sampling.ts";

/** What is needed of a backend; the CPU engine answers at once. */
export interface SynchronousBackend {
  readonly limits: BackendLimits;
  step(batch: StepBatch): StepResult;
}

/** What chat clients commonly ask for. */
export const SAMPLED: SamplingParams = { ...GREEDY, temperature: 0.8, topP: 0.95 };

export interface RunningSequence {
  /** Physical blocks, enough for every position that is run. */
  blockTable: number[];
  /** Where the next token goes. */
  position: number;
  nextToken: number;
}

/** A sequence with room for `numTokens`, in blocks of its own. @param index of the sequence: the first has the first blocks */
export function placeSequence(limits: BackendLimits, numTokens: number, index = 0): RunningSequence {
  const numBlocks = Math.ceil(numTokens / limits.blockTokens);
  const first = index * numBlocks;
  if (first + numBlocks > limits.numBlocks) {
    throw new RangeError(`Sequence ${index} of ${numTokens} tokens does not fit ${limits.numBlocks} KV blocks.`);
  }
  return { blockTable: Array.from({ length: numBlocks }, (_, i) => first + i), position: 0, nextToken: 0 };
}

/** Token ids without meaning, spread over the vocabulary so that no row of the embeddings is read twice in a row. */
export function promptTokens(numTokens: number, vocabSize: number): number[] {
  return Array.from({ length: numTokens }, (_, i) => (300 + i * 7919) % vocabSize);
}

/** Runs the prompt from position 0 on; only its last token gets logits, and the next token is drawn from them. */
export function prefill(backend: SynchronousBackend, sequence: RunningSequence, tokens: readonly number[]): void {
  const { maxBatchTokens } = backend.limits;
  for (let from = 0; from < tokens.length; from += maxBatchTokens) {
    const chunk = tokens.slice(from, from + maxBatchTokens);
    const isLast = from + chunk.length === tokens.length;
    const outputs = isLast ? [draw(chunk.length - 1, GREEDY, 0)] : [];
    const { blockTable } = sequence;
    const { rows } = backend.step({
      copies: [],
      sequences: [{ tokens: chunk, startPosition: from, blockTable, outputs }],
    });
    if (isLast) sequence.nextToken = rows[0]!.token;
  }
  sequence.position = tokens.length;
}

/** One token for each sequence. @param params how it is drawn */
export function decodeStep(
  backend: SynchronousBackend,
  sequences: readonly RunningSequence[],
  params: SamplingParams = GREEDY,
): void {
  const { rows } = backend.step({
    copies: [],
    sequences: sequences.map(({ nextToken, position, blockTable }) => ({
      tokens: [nextToken],
      startPosition: position,
      blockTable,
      outputs: [draw(0, params, position)],
    })),
  });
  sequences.forEach((sequence, i) => {
    sequence.nextToken = rows[i]!.token;
    sequence.position++;
  });
}

function draw(row: number, params: SamplingParams, rngCounter: number): RowOutput {
  const sample = {
    params,
    rngKey: [1, 2] as [number, number],
    rngCounter,
    promptTokens: [],
    outputTokens: [],
    allowed: null,
  };
  return { row, sample, scoreToken: null, numLogprobs: null, wantLogits: false };
}
