/**
 * A batch as the words that `wasm/src/step.rs` reads, and its results back. One call into WASM takes at most
 * `maxLogitRows` outputs, so a step with more (prompt logprobs of a whole chunk) is cut: the first call runs the
 * tokens, the others only take more outputs from the same rows.
 */
import type { BlockCopy, RowOutput, RowResult, StepBatch, StepSequence } from "../../serving/backend.ts";
import { maskWords } from "../../serving/token-mask.ts";
import { LOGIT_BIAS_MAX, NUM_LOGPROBS_MAX, needsLogits, usesPenalties } from "../../serving/validate-batch.ts";

const HEADER_WORDS = 11;
const SEQUENCE_WORDS = 5;
const OUTPUT_WORDS = 21;
const RESULT_HEADER_WORDS = 4;
/** Words of one result. */
export const RESULT_WORDS = RESULT_HEADER_WORDS + 2 * NUM_LOGPROBS_MAX;

const FLAG_SAMPLE = 1;
const FLAG_SCORE = 2;
const FLAG_LOGPROBS = 4;

/** Words of the largest call, so that no valid batch can overrun the region. */
export function stepCapacityWords(limits: {
  blockTokens: number;
  numBlocks: number;
  contextLength: number;
  maxBatchTokens: number;
  maxBatchSequences: number;
  maxLogitRows: number;
  vocabSize: number;
}): number {
  const tableWords = Math.ceil(limits.contextLength / limits.blockTokens);
  const listWords = limits.contextLength + 2 * LOGIT_BIAS_MAX + maskWords(limits.vocabSize);
  return (
    HEADER_WORDS +
    2 * limits.numBlocks +
    limits.maxBatchSequences * (SEQUENCE_WORDS + tableWords) +
    limits.maxBatchTokens +
    limits.maxLogitRows * (1 + OUTPUT_WORDS + listWords)
  );
}

/** An output with the row of its token among all tokens of the step. */
export interface PlacedOutput {
  output: RowOutput;
  tokenRow: number;
}

export interface StepCall {
  copies: readonly BlockCopy[];
  sequences: readonly StepSequence[];
  outputs: PlacedOutput[];
}

/** The calls of a batch: all of its work in the first, what is left of its outputs in others. */
export function splitIntoCalls(batch: StepBatch, maxOutputs: number): StepCall[] {
  const placed: PlacedOutput[] = [];
  let firstRow = 0;
  for (const { tokens, outputs } of batch.sequences) {
    for (const output of outputs) placed.push({ output, tokenRow: firstRow + output.row });
    firstRow += tokens.length;
  }
  const calls: StepCall[] = [{ ...batch, outputs: placed.slice(0, maxOutputs) }];
  for (let at = maxOutputs; at < placed.length; at += maxOutputs) {
    calls.push({ copies: [], sequences: [], outputs: placed.slice(at, at + maxOutputs) });
  }
  return calls;
}

/** Writes calls into the step region and reads results; makes no garbage that grows with the context. */
export class StepCodec {
  readonly #words: Uint32Array;
  readonly #floats: Float32Array;
  readonly #results: Uint32Array;
  readonly #resultFloats: Float32Array;
  #end = 0;

  constructor(
    memory: ArrayBuffer,
    step: { address: number; words: number },
    results: { address: number; rows: number },
  ) {
    this.#words = new Uint32Array(memory, step.address, step.words);
    this.#floats = new Float32Array(memory, step.address, step.words);
    this.#results = new Uint32Array(memory, results.address, results.rows * RESULT_WORDS);
    this.#resultFloats = new Float32Array(memory, results.address, results.rows * RESULT_WORDS);
  }

  /** @returns for each output, the index of its row of logits, or of what it wants instead of them */
  encode(call: StepCall, blockTokens: number): number[] {
    const { copies, sequences, outputs } = call;
    const words = this.#words;
    this.#end = HEADER_WORDS;
    const copiesAt = this.#take(2 * copies.length);
    copies.forEach(({ from, to }, i) => {
      words.set([from, to], copiesAt + 2 * i);
    });
    const sequencesAt = this.#take(SEQUENCE_WORDS * sequences.length);
    const tokensAt = this.#end;
    for (const { tokens } of sequences) this.#append(tokens);
    const numTokens = this.#end - tokensAt;

    const withLogits = new Set(outputs.filter(({ output }) => needsLogits(output)).map(({ tokenRow }) => tokenRow));
    const rows = [...new Set([...withLogits, ...outputs.map(({ tokenRow }) => tokenRow)])];
    const slotOf = new Map(rows.map((row, slot) => [row, slot]));
    const slots = outputs.map(({ tokenRow }) => slotOf.get(tokenRow)!);
    const rowsAt = this.#append(rows);
    const outputsAt = this.#take(OUTPUT_WORDS * outputs.length);

    let firstRow = 0;
    sequences.forEach(({ tokens, startPosition, blockTable }, i) => {
      const tableWords = Math.ceil((startPosition + tokens.length) / blockTokens);
      const table = this.#append(blockTable, tableWords);
      words.set([firstRow, tokens.length, startPosition, table, tableWords], sequencesAt + SEQUENCE_WORDS * i);
      firstRow += tokens.length;
    });
    outputs.forEach(({ output }, i) => {
      this.#encodeOutput(output, slots[i]!, outputsAt + OUTPUT_WORDS * i);
    });
    words.set([copies.length, sequences.length, numTokens, outputs.length, copiesAt, sequencesAt, tokensAt, outputsAt]);
    words.set([rows.length, rowsAt, withLogits.size], 8);
    return slots;
  }

  /** The result of output `index` of the last call, without its logits. */
  decode(index: number, { sample, scoreToken, numLogprobs }: RowOutput): RowResult {
    const at = index * RESULT_WORDS;
    const top: RowResult["top"] = [];
    const numTop = numLogprobs === null ? 0 : this.#results[at + 2]!;
    for (let i = 0; i < numTop; i++) {
      const entry = at + RESULT_HEADER_WORDS + 2 * i;
      top.push({ token: this.#results[entry]!, logprob: this.#resultFloats[entry + 1]! });
    }
    const scored = numLogprobs !== null && (scoreToken !== null || sample !== null);
    return {
      token: sample === null ? -1 : this.#results[at]!,
      logprob: scored ? this.#resultFloats[at + 1]! : null,
      top,
      logits: null,
    };
  }

  #encodeOutput(output: RowOutput, slot: number, at: number): void {
    const { sample, scoreToken, numLogprobs } = output;
    const words = this.#words;
    words.fill(0, at, at + OUTPUT_WORDS);
    words[at] = slot;
    words[at + 1] =
      (sample === null ? 0 : FLAG_SAMPLE) |
      (scoreToken === null ? 0 : FLAG_SCORE) |
      (numLogprobs === null ? 0 : FLAG_LOGPROBS);
    words[at + 12] = scoreToken ?? 0;
    words[at + 13] = numLogprobs ?? 0;
    if (sample === null) return;
    const { params, rngKey, rngCounter, allowed } = sample;
    const floats = this.#floats;
    floats[at + 2] = params.temperature;
    words[at + 3] = params.topK;
    floats.set(
      [params.topP, params.minP, params.repetitionPenalty, params.presencePenalty, params.frequencyPenalty],
      at + 4,
    );
    words.set([rngKey[0], rngKey[1], rngCounter], at + 9);
    if (usesPenalties(sample)) {
      const { promptTokens, outputTokens } = sample;
      words.set([this.#append(promptTokens), promptTokens.length], at + 14);
      words.set([this.#append(outputTokens), outputTokens.length], at + 16);
    }
    const biasAt = this.#take(2 * params.logitBias.length);
    words.set([biasAt, params.logitBias.length], at + 18);
    params.logitBias.forEach(([token, bias], i) => {
      words[biasAt + 2 * i] = token;
      floats[biasAt + 2 * i + 1] = bias;
    });
    if (allowed !== null) words[at + 20] = this.#append(allowed);
  }

  #take(numWords: number): number {
    const at = this.#end;
    this.#end += numWords;
    return at;
  }

  /** Copies the first `length` of `values` to the end; returns where they start. */
  #append(values: ArrayLike<number>, length: number = values.length): number {
    const at = this.#take(length);
    if (length === values.length) this.#words.set(values, at);
    else for (let i = 0; i < length; i++) this.#words[at + i] = values[i]!;
    return at;
  }
}
