/**
 * What the sampling kernels are told of each wanted output: 16 words, in the step's upload.
 *
 * Weights are whole numbers, exp((logit − max) / temperature) · (2^28 − 1) rounded: sums of them are exact and need no order,
 * so threads may add as they like and the same seed still gives the same token. A vocabulary of 2^18 cannot overflow them.
 */
import type { RowOutput } from "../../src/serving/backend.ts";

export const OUTPUT_WORDS = 16;
export const WEIGHT_BITS = 28;
export const WEIGHT_MAX = 2 ** WEIGHT_BITS - 1;
/** Sums of two 14-bit halves of weights stay within 32 bits. */
export const VOCAB_MAX = 2 ** 18;
/** Below this a temperature is greedy: 1/t would overflow the exponent of any real difference. */
export const GREEDY_TEMPERATURE = 1e-5;
export const NO_TOKEN = 0xffffffff;
/** Alternatives that `logprobs.ts` reports at most. */
export const NUM_TOP_MAX = 20;
/** Marks a token of the prompt among the adjustments; the low bits count occurrences in the output. */
export const IN_PROMPT = 0x80000000;

/** Word of each field. `temperature` is stored as its inverse; 0 = greedy. */
export const FIELD = {
  logitRow: 0,
  flags: 1,
  inverseTemperature: 2,
  topK: 3,
  topP: 4,
  minWeight: 5,
  keyLow: 6,
  keyHigh: 7,
  counter: 8,
  repetitionPenalty: 9,
  presencePenalty: 10,
  frequencyPenalty: 11,
  maskStart: 12,
  slot: 13,
  scoreToken: 14,
  numTop: 15,
} as const;

export const FLAG = { samples: 1, hasTopP: 2, hasMask: 4, wantsLogprobs: 8 } as const;

const SCRATCH = new DataView(new ArrayBuffer(4));

export function floatBits(value: number): number {
  SCRATCH.setFloat32(0, value);
  return SCRATCH.getUint32(0);
}

export interface OutputPlace {
  /** Row of the logits. */
  logitRow: number;
  /** First word of the allowed tokens' bits; null = all tokens are allowed. */
  maskStart: number | null;
  /** Where the token is put for the next step; null = nowhere. */
  slot: number | null;
}

export function encodeOutput(
  words: Uint32Array,
  { sample, scoreToken, numLogprobs }: RowOutput,
  { logitRow, maskStart, slot }: OutputPlace,
): void {
  words.fill(0);
  words[FIELD.logitRow] = logitRow;
  words[FIELD.slot] = slot ?? NO_TOKEN;
  words[FIELD.scoreToken] = scoreToken ?? NO_TOKEN;
  words[FIELD.numTop] = numLogprobs ?? 0;
  let flags = numLogprobs === null ? 0 : FLAG.wantsLogprobs;
  if (maskStart !== null) {
    flags |= FLAG.hasMask;
    words[FIELD.maskStart] = maskStart;
  }
  if (sample !== null) {
    const { params, rngKey, rngCounter } = sample;
    flags |= FLAG.samples;
    const { temperature, topK, topP, minP } = params;
    words[FIELD.inverseTemperature] = temperature < GREEDY_TEMPERATURE ? 0 : floatBits(1 / temperature);
    words[FIELD.topK] = topK;
    if (topP < 1) {
      flags |= FLAG.hasTopP;
      words[FIELD.topP] = Math.floor(topP * 2 ** 32);
    }
    words[FIELD.minWeight] = Math.max(1, Math.ceil(minP * WEIGHT_MAX));
    words[FIELD.keyLow] = rngKey[0];
    words[FIELD.keyHigh] = rngKey[1];
    words[FIELD.counter] = rngCounter;
    words[FIELD.repetitionPenalty] = floatBits(params.repetitionPenalty);
    words[FIELD.presencePenalty] = floatBits(params.presencePenalty);
    words[FIELD.frequencyPenalty] = floatBits(params.frequencyPenalty);
  }
  words[FIELD.flags] = flags;
}

/** One entry for each token whose logit changes: four words (output, token, how often it was seen, bias). */
export function encodeAdjustments(output: number, { sample }: RowOutput): number[] {
  if (sample === null) return [];
  const { params, promptTokens, outputTokens } = sample;
  const { repetitionPenalty, presencePenalty, frequencyPenalty, logitBias } = params;
  const entries = new Map<number, { seen: number; bias: number }>();
  const entry = (token: number) => {
    const found = entries.get(token) ?? { seen: 0, bias: 0 };
    entries.set(token, found);
    return found;
  };
  if (repetitionPenalty !== 1 || presencePenalty !== 0 || frequencyPenalty !== 0) {
    if (repetitionPenalty !== 1) for (const token of Array.from(promptTokens)) entry(token).seen = IN_PROMPT;
    for (const token of Array.from(outputTokens)) entry(token).seen += 1;
  }
  for (const [token, bias] of logitBias) entry(token).bias += bias;
  return Array.from(entries).flatMap(([token, { seen, bias }]) => [output, token, seen, floatBits(bias)]);
}
