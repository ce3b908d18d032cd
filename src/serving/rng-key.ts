/**
 * Seeds → keys of the counter-based generator. A choice's draws depend on its key and its own token count alone, so a
 * seed gives the same text whatever else runs.
 *
 * The key of choice i of a prompt is a 64-bit Feistel network over the seed: low half xor fmix32(i · 0x9E3779B9), then
 * four rounds (L, R) ← (R, L xor fmix32(R + round constant)). For each i it is a bijection of the seed, and for each
 * seed all i give different keys. It knows neither `n` nor the other prompts: choice 0 of `n: 3` is the only choice of
 * `n: 1`, and a prompt in a list of several gets what it gets alone.
 */
import { fmix32 } from "./block-hash.ts";

/** First hexadecimal digits of π, as in Blowfish: constants with nothing up their sleeve. */
const ROUND_CONSTANTS = [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344];

/** A seed as two u32 lanes, two's complement for negative ones. @param seed an integer within ±2^53 */
export function seedLanes(seed: number): [number, number] {
  return [seed >>> 0, Math.floor(seed / 2 ** 32) >>> 0];
}

/** @param random uniform in [0, 1), for a request without a seed */
export function randomLanes(random: () => number): [number, number] {
  return [Math.floor(random() * 2 ** 32) >>> 0, Math.floor(random() * 2 ** 32) >>> 0];
}

/** @param choice index of the choice within its prompt */
export function choiceKey(lanes: readonly [number, number], choice: number): [number, number] {
  let left = (lanes[0] ^ fmix32(Math.imul(choice, 0x9e3779b9))) >>> 0;
  let right = lanes[1];
  for (const constant of ROUND_CONSTANTS) {
    [left, right] = [right, (left ^ fmix32((right + constant) | 0)) >>> 0];
  }
  return [left, right];
}
