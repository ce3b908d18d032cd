/** `X.expected.json` beside `X.gguf`: what llama.cpp computes for that model, against which engines are checked. */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** All logits at the last position, and [id, logit] of the highest at every position. */
export interface ExpectedLogits {
  last: number[];
  top: [number, number][][];
}

export interface Expected {
  prompt_ids: number[];
  native?: ExpectedLogits;
  /** Of quantized files: the same weights expanded to F32. */
  dequantized?: ExpectedLogits;
  nmse_native_vs_dequantized?: number;
  /** Of the trained model instead: greedy text after the prompt, and all logits at some positions. */
  greedy_ids?: number[];
  logits?: { input_position: number; full: number[] }[];
}

/** Every model under `folder`/models with what is expected of it, in the order of their paths. */
export function expectedModels(folder: string): { path: string; expected: Expected }[] {
  return globSync(join(folder, "models/**/*.gguf"))
    .sort()
    .map((path) => {
      const text = readFileSync(path.replace(/\.gguf$/, ".expected.json"), "utf8");
      return { path, expected: JSON.parse(text) as Expected };
    });
}

/** Largest |difference| of `logits`, one row for each position of the prompt. */
export function maxDifference(logits: ArrayLike<number>[], expected: ExpectedLogits): number {
  let max = 0;
  expected.last.forEach((value, id) => {
    max = Math.max(max, Math.abs(value - logits.at(-1)![id]!));
  });
  expected.top.forEach((top, position) => {
    for (const [id, value] of top) max = Math.max(max, Math.abs(value - logits[position]![id]!));
  });
  return max;
}
