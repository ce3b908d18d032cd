/** KV pages written in TypeScript: every slot that holds nothing is poisoned with NaN. */
import { type KvShape, paddedHead, unitComponents } from "../../../kernels-gpu/attention/kv-layout.ts";
import { floatToHalf, roundToHalf } from "../../../src/model/float16.ts";

export interface Pages {
  keys: Uint32Array;
  values: Uint32Array;
  scales: Float32Array;
}

const NAN_HALVES = 0x7e007e00;

export function emptyPages(shape: KvShape, numBlocks: number): Pages {
  const components = numBlocks * shape.numKvHeads * shape.blockTokens * paddedHead(shape.headDim);
  const words = components / (shape.precision === "f16" ? 2 : 4);
  return {
    keys: new Uint32Array(words).fill(NAN_HALVES),
    values: new Uint32Array(words).fill(NAN_HALVES),
    scales: new Float32Array(numBlocks * shape.numKvHeads * shape.blockTokens * 2).fill(Number.NaN),
  };
}

/** Stores one head of one slot. @returns what the page holds now: the numbers that attention sees */
export function putHead(
  pages: Pages,
  shape: KvShape,
  slot: number,
  head: number,
  key: ArrayLike<number>,
  value: ArrayLike<number>,
): { key: Float64Array; value: Float64Array } {
  const { numKvHeads, headDim, blockTokens, precision } = shape;
  const padded = paddedHead(headDim);
  const unit = unitComponents(precision);
  const block = Math.floor(slot / blockTokens) * numKvHeads + head;
  const inBlock = slot % blockTokens;
  const keyAt = (i: number) =>
    ((block * (padded / unit) + Math.floor(i / unit)) * blockTokens + inBlock) * unit + (i % unit);
  const valueAt = (i: number) => (block * blockTokens + inBlock) * padded + i;
  const scaleAt = (block * blockTokens + inBlock) * 2;
  const scales = [key, value].map((row) => Math.fround(Math.max(...Array.from(row, Math.abs)) / 127));
  pages.scales.set(scales, scaleAt);
  const put = (words: Uint32Array, at: number, x: number, scale: number): number => {
    if (precision === "f16") {
      new Uint16Array(words.buffer)[at] = floatToHalf(x);
      return roundToHalf(x);
    }
    const code = scale === 0 ? 0 : Math.max(-127, Math.min(127, Math.round(x / scale)));
    new Int8Array(words.buffer)[at] = code;
    return code * scale;
  };
  const stored = { key: new Float64Array(headDim), value: new Float64Array(headDim) };
  for (let i = 0; i < padded; i++) {
    const [k, v] = i < headDim ? [key[i]!, value[i]!] : [0, 0];
    const [storedKey, storedValue] = [
      put(pages.keys, keyAt(i), k, scales[0]!),
      put(pages.values, valueAt(i), v, scales[1]!),
    ];
    if (i < headDim) [stored.key[i], stored.value[i]] = [storedKey, storedValue];
  }
  return stored;
}
