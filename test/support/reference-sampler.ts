/** The sampler's formulas in plain float64, with a sort: what the kernels' one-pass version is compared with. */
import type { SamplingParams } from "../../src/protocol/generate.ts";

/** Repetition penalty (CTRL), presence and frequency penalties (OpenAI), then bias. */
export function adjustedLogits(
  logits: ArrayLike<number>,
  params: SamplingParams,
  promptTokens: number[],
  outputTokens: number[],
): Float64Array {
  const out = Float64Array.from(logits);
  for (const token of new Set([...promptTokens, ...outputTokens])) {
    const logit = out[token]!;
    out[token] = logit > 0 ? logit / params.repetitionPenalty : logit * params.repetitionPenalty;
  }
  for (const token of outputTokens) out[token]! -= params.frequencyPenalty;
  for (const token of new Set(outputTokens)) out[token]! -= params.presencePenalty;
  for (const [token, bias] of params.logitBias) out[token]! += bias;
  return out;
}

export function logSoftmax(logits: ArrayLike<number>): Float64Array {
  const values = Float64Array.from(logits);
  const max = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const sum = values.reduce((total, value) => total + Math.exp(value - max), 0);
  return values.map((value) => value - max - Math.log(sum));
}

/** Probability of each token after temperature, min-p, top-k and top-p, in that order; 0 = filtered out. */
export function distribution(logits: ArrayLike<number>, params: SamplingParams): Float64Array {
  const values = Float64Array.from(logits);
  const max = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const weights = values.map((value) => Math.exp((value - max) / params.temperature));
  const kept = Array.from(weights.keys())
    .filter((token) => weights[token]! >= params.minP)
    .sort((a, b) => weights[b]! - weights[a]! || a - b)
    .slice(0, params.topK === 0 ? weights.length : params.topK);
  const total = kept.reduce((sum, token) => sum + weights[token]!, 0);
  const out = new Float64Array(weights.length);
  let sum = 0;
  for (const token of kept) {
    if (params.topP < 1 && sum >= total * params.topP) break;
    sum += weights[token]!;
    out[token] = weights[token]!;
  }
  return out.map((weight) => weight / sum);
}
