/** The sampler in plain TypeScript, with a sort: what `sample.ts` is compared with, token by token. */
import { NO_TOKEN, WEIGHT_MAX } from "./outputs.ts";

/** Philox4x32-10. */
export function referencePhilox(counter: readonly number[], key: readonly [number, number]): number[] {
  let [c0, c1, c2, c3] = counter.map((word) => BigInt(word)) as [bigint, bigint, bigint, bigint];
  let [k0, k1] = [BigInt(key[0]), BigInt(key[1])];
  const mask = 0xffffffffn;
  for (let round = 0; round < 10; round++) {
    const [a, b] = [c0 * 0xd2511f53n, c2 * 0xcd9e8d57n];
    [c0, c1, c2, c3] = [(b >> 32n) ^ c1 ^ k0, b & mask, (a >> 32n) ^ c3 ^ k1, a & mask];
    [k0, k1] = [(k0 + 0x9e3779b9n) & mask, (k1 + 0xbb67ae85n) & mask];
  }
  return [c0, c1, c2, c3].map(Number);
}

export interface ReferenceParams {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
}

/** @param logits adjusted ones; −∞ = not allowed */
export function referenceSample(
  logits: ArrayLike<number>,
  { temperature, topK, topP, minP }: ReferenceParams,
  rngKey: readonly [number, number],
  rngCounter: number,
): number {
  const values = Float64Array.from(logits);
  const top = values.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  if (temperature < 1e-5) return values.indexOf(top);
  const weights = values.map((value) => Math.round(Math.exp((value - top) / temperature) * WEIGHT_MAX));
  let kept = Array.from(weights.keys())
    .filter((id) => weights[id]! >= Math.max(1, minP * WEIGHT_MAX))
    .sort((a, b) => weights[b]! - weights[a]! || a - b);
  if (topK > 0) kept = kept.slice(0, topK);
  if (topP < 1) {
    const target = sum(kept, weights) * topP;
    let mass = 0;
    kept = kept.filter((id) => {
      const wanted = mass < target;
      if (wanted) mass += weights[id]!;
      return wanted;
    });
  }
  const [word] = referencePhilox([rngCounter, 0, 0, 0], rngKey);
  const target = (sum(kept, weights) * word!) / 2 ** 32;
  let mass = 0;
  for (const id of kept.sort((a, b) => a - b)) {
    mass += weights[id]!;
    if (mass > target) return id;
  }
  return NO_TOKEN;
}

const sum = (ids: number[], weights: Float64Array) => ids.reduce((total, id) => total + weights[id]!, 0);
