/**
 * Refuses a batch that breaks the rules of `backend.ts` before anything is touched, with the value and the limit. The
 * kernels check once more what their memory safety rests on, but cannot say it in words.
 */
import type { BackendLimits, RowOutput, RowSample, StepBatch, StepSequence } from "./backend.ts";
import { allowsAny, maskWords } from "./token-mask.ts";

/** As many as the kernels have room to report. */
export const NUM_LOGPROBS_MAX = 20;
/** Room for biases in the staging region, for each row; OpenAI's API allows 300. */
export const LOGIT_BIAS_MAX = 1024;

/** @throws Error naming the sequence, the value and the limit */
export function validateBatch(batch: StepBatch, limits: BackendLimits): void {
  const { sequences, copies } = batch;
  if (sequences.length > limits.maxBatchSequences) {
    throw refused(`it has ${sequences.length} sequences, at most ${limits.maxBatchSequences} fit`);
  }
  const numTokens = sequences.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
  if (numTokens > limits.maxBatchTokens) {
    throw refused(`it has ${numTokens} tokens, at most ${limits.maxBatchTokens} fit`);
  }
  if (copies.length > limits.numBlocks) {
    throw refused(`it has ${copies.length} block copies, the pool only ${limits.numBlocks} blocks`);
  }
  for (const { from, to } of copies) {
    checkBelow("a copy reads block", from, limits.numBlocks);
    checkBelow("a copy writes block", to, limits.numBlocks);
  }
  sequences.forEach((sequence, index) => {
    checkSequence(sequence, `sequence ${index}`, limits);
  });
  checkWrittenBlocks(sequences, limits);
}

function checkSequence(sequence: StepSequence, name: string, limits: BackendLimits): void {
  const { tokens, startPosition, blockTable, outputs, adapter = 0 } = sequence;
  if (tokens.length === 0) throw refused(`${name} has no tokens`);
  if (!Number.isInteger(startPosition) || startPosition < 0) {
    throw refused(`${name} starts at position ${startPosition}`);
  }
  if (adapter !== 0 && limits.numAdapters === 0) {
    throw refused(`${name} names adapter ${adapter}; this backend has none`);
  }
  checkBelow(`${name} names adapter`, adapter, limits.numAdapters + 1);
  const end = startPosition + tokens.length;
  if (end > limits.contextLength) {
    throw refused(`${name} reaches position ${end - 1}, the context holds ${limits.contextLength}`);
  }
  const numBlocks = Math.ceil(end / limits.blockTokens);
  if (blockTable.length < numBlocks) {
    throw refused(
      `${name} needs ${numBlocks} blocks of ${limits.blockTokens} tokens, its table has ${blockTable.length}`,
    );
  }
  checkIds(tokens, `${name} has token`, limits.vocabSize);
  for (let i = 0; i < numBlocks; i++) checkBelow(`${name} names block`, blockTable[i]!, limits.numBlocks);
  for (const output of outputs) checkOutput(output, tokens.length, name, limits);
}

function checkOutput(output: RowOutput, numTokens: number, name: string, limits: BackendLimits): void {
  const { row, sample, scoreToken, numLogprobs } = output;
  checkBelow(`${name} wants the output of row`, row, numTokens);
  if (scoreToken !== null) checkBelow(`${name} scores token`, scoreToken, limits.vocabSize);
  if (numLogprobs !== null) {
    const most = Math.min(NUM_LOGPROBS_MAX, limits.vocabSize);
    checkBelow(`${name} wants alternatives:`, numLogprobs, most + 1);
  }
  if (sample !== null) checkSample(sample, name, limits);
}

function checkSample(sample: RowSample, name: string, limits: BackendLimits): void {
  const { params, allowed } = sample;
  if (allowed !== null) checkMask(allowed, name, limits.vocabSize);
  const check = (field: string, value: number, sound: boolean, rule: string) => {
    if (!sound) throw refused(`${name} samples with ${field} ${value}; it must be ${rule}`);
  };
  const { temperature, topK, topP, minP, repetitionPenalty } = params;
  check("temperature", temperature, temperature >= 0 && Number.isFinite(temperature), "a number of at least 0");
  check("topK", topK, Number.isInteger(topK) && topK >= 0 && topK < 2 ** 32, "a whole number of at least 0");
  check("topP", topP, topP > 0 && topP <= 1, "more than 0 and at most 1");
  check("minP", minP, minP >= 0 && minP <= 1, "0 to 1");
  check(
    "repetitionPenalty",
    repetitionPenalty,
    repetitionPenalty > 0 && Number.isFinite(repetitionPenalty),
    "a number above 0",
  );
  for (const field of ["presencePenalty", "frequencyPenalty"] as const) {
    check(field, params[field], Number.isFinite(params[field]), "a number");
  }
  for (const word of [...sample.rngKey, sample.rngCounter]) {
    check(
      "random key or counter",
      word,
      Number.isInteger(word) && word >= 0 && word < 2 ** 32,
      "a whole 32-bit number",
    );
  }
  if (params.logitBias.length > LOGIT_BIAS_MAX) {
    throw refused(`${name} has ${params.logitBias.length} logit biases, at most ${LOGIT_BIAS_MAX} fit`);
  }
  for (const [token, bias] of params.logitBias) {
    checkBelow(`${name} has a logit bias for token`, token, limits.vocabSize);
    check(`logit bias of token ${token}:`, bias, !Number.isNaN(bias), "a number");
  }
  if (!usesPenalties(sample)) return;
  const numSeen = sample.promptTokens.length + sample.outputTokens.length;
  if (numSeen > limits.contextLength) {
    throw refused(`${name} has ${numSeen} prompt and output tokens for penalties, the context ${limits.contextLength}`);
  }
  checkIds(sample.promptTokens, `${name} has prompt token`, limits.vocabSize);
  checkIds(sample.outputTokens, `${name} has output token`, limits.vocabSize);
}

function checkMask(allowed: Uint32Array, name: string, vocabSize: number): void {
  const numWords = maskWords(vocabSize);
  if (allowed.length !== numWords) {
    throw refused(`${name} has a mask of ${allowed.length} words; a vocabulary of ${vocabSize} tokens has ${numWords}`);
  }
  if (!allowsAny(allowed, vocabSize)) throw refused(`${name} has a mask that allows no token`);
}

/** Whether prompt and output tokens of this draw are read. */
export function usesPenalties({ params }: RowSample): boolean {
  return params.repetitionPenalty !== 1 || params.presencePenalty !== 0 || params.frequencyPenalty !== 0;
}

/** Whether the row of this output goes through the LM head. */
export function needsLogits({ sample, numLogprobs, wantLogits }: RowOutput): boolean {
  return sample !== null || numLogprobs !== null || wantLogits;
}

/** A block that a sequence writes is in no other table of the step. */
function checkWrittenBlocks(sequences: readonly StepSequence[], limits: BackendLimits): void {
  const { blockTokens } = limits;
  const writer = new Map<number, number>();
  sequences.forEach(({ tokens, startPosition, blockTable }, index) => {
    const last = Math.floor((startPosition + tokens.length - 1) / blockTokens);
    for (let i = Math.floor(startPosition / blockTokens); i <= last; i++) {
      const block = blockTable[i]!;
      if (writer.has(block)) throw refused(`sequence ${index} writes block ${block} a second time`);
      writer.set(block, index);
    }
  });
  sequences.forEach(({ tokens, startPosition, blockTable }, index) => {
    const first = Math.floor(startPosition / blockTokens);
    const end = Math.ceil((startPosition + tokens.length) / blockTokens);
    for (let i = 0; i < end; i++) {
      const by = writer.get(blockTable[i]!);
      if (by !== undefined && (by !== index || i < first)) {
        throw refused(`sequence ${index} reads block ${blockTable[i]}, which sequence ${by} writes in the same step`);
      }
    }
  });
}

function checkIds(ids: ArrayLike<number>, what: string, limit: number): void {
  for (let i = 0; i < ids.length; i++) checkBelow(what, ids[i]!, limit);
}

function checkBelow(what: string, value: number, limit: number): void {
  if (!Number.isInteger(value) || value < 0 || value >= limit) {
    throw refused(`${what} ${value}, which is not a whole number from 0 to ${limit - 1}`);
  }
}

function refused(reason: string): Error {
  return new Error(`The batch was refused: ${reason}.`);
}
