/**
 * A folder of fixtures: `DIR/models/…/X.gguf` with `X.expected.json` beside it, logits and text that llama.cpp computed.
 * They are not part of the repository; scripts that compare with them take the folder as an argument.
 */
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** All logits at the last position, and [id, logit] of the highest at every position. */
export interface ExpectedLogits {
  last: number[];
  top: [number, number][][];
}

export interface Expected {
  prompt_text?: string;
  prompt_ids: number[];
  native?: ExpectedLogits;
  /** Of quantized files: the same weights expanded to F32. */
  dequantized?: ExpectedLogits;
  nmse_native_vs_dequantized?: number;
  /** Of the trained model instead: greedy text after the prompt, and all logits at some positions. */
  greedy_ids?: number[];
  logits?: { input_position: number; full: number[] }[];
}

export interface Fixture {
  path: string;
  name: string;
  expected: Expected;
}

/** @param only part of the paths wanted */
export function readFixtures(folder: string | undefined, only = ""): Fixture[] {
  if (folder === undefined) throw new Error("--fixtures DIR is needed: the folder that holds models/**/*.gguf");
  const paths = globSync(join(folder, "models/**/*.gguf")).filter((path) => path.includes(only));
  return paths.sort().map((path) => ({
    path,
    name: basename(path, ".gguf"),
    expected: JSON.parse(readFileSync(path.replace(/\.gguf$/, ".expected.json"), "utf8")) as Expected,
  }));
}

/** Largest difference from what the file holds of these logits. */
export function maxDifference(logits: ArrayLike<number>[], expected: ExpectedLogits): number {
  let max = 0;
  const compare = (position: number, id: number, value: number) => {
    max = Math.max(max, Math.abs(value - logits[position]![id]!));
  };
  expected.last.forEach((value, id) => {
    compare(expected.top.length - 1, id, value);
  });
  expected.top.forEach((top, position) => {
    for (const [id, value] of top) compare(position, id, value);
  });
  return max;
}

/** Σ(a−b)² / Σb² over all positions. */
export function nmse(actual: Float32Array[], expected: ArrayLike<number>[]): number {
  let [error, energy] = [0, 0];
  expected.forEach((row, position) => {
    for (let i = 0; i < row.length; i++) {
      error += (actual[position]![i]! - row[i]!) ** 2;
      energy += row[i]! ** 2;
    }
  });
  return error / energy;
}
