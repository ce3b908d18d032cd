/**
 * Checks the dequantizers and the float64 reference against logits of llama.cpp, where a folder of fixtures is at hand:
 *   node test/support/check-fixtures.ts --fixtures DIR
 * Takes every `X.gguf` under DIR/models that has an `X.expected.json` beside it; what cannot be read is listed with the
 * reader's reason.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ModelError } from "../../src/model/errors.ts";
import { referenceLogits } from "./reference-forward.ts";
import { readWeights } from "./tiny-model.ts";

/**
 * llama.cpp computes in f32, the reference in f64: what their roundings may differ by. With GELU, what the 16-bit table
 * that llama.cpp reads it from is off.
 */
const F32_DIFFERENCE_MAX = 1e-4;
const QUANTIZED_DIFFERENCE_MAX = 1e-3;
const GELU_DIFFERENCE_MAX = 1e-2;

/** All logits at the last position, and [id, logit] of the highest at every position. */
interface ExpectedLogits {
  last: number[];
  top: [number, number][][];
}

interface Expected {
  prompt_ids: number[];
  native?: ExpectedLogits;
  /** Of quantized files: the same weights expanded to F32. */
  dequantized?: ExpectedLogits;
  /** Of the trained model instead: greedy text after the prompt, and all logits at some positions. */
  greedy_ids?: number[];
  logits?: { input_position: number; full: number[] }[];
}

async function maxDifference(path: string, expected: Expected): Promise<{ difference: number; limit: number }> {
  const { spec, weights } = await readWeights(readFileSync(path), path);
  const tokens = [...expected.prompt_ids, ...(expected.greedy_ids ?? [])];
  const logits = referenceLogits(spec, weights, tokens);
  let max = 0;
  const compare = (position: number, id: number, value: number) => {
    max = Math.max(max, Math.abs(value - logits[position]![id]!));
  };
  const wanted = expected.dequantized ?? expected.native;
  wanted?.last.forEach((value, id) => {
    compare(wanted.top.length - 1, id, value);
  });
  wanted?.top.forEach((top, position) => {
    for (const [id, value] of top) compare(position, id, value);
  });
  for (const { input_position, full } of expected.logits ?? []) {
    full.forEach((value, id) => {
      compare(input_position, id, value);
    });
  }
  const exactLimit = expected.dequantized === undefined ? F32_DIFFERENCE_MAX : QUANTIZED_DIFFERENCE_MAX;
  return { difference: max, limit: spec.activation === "gelu-tanh" ? GELU_DIFFERENCE_MAX : exactLimit };
}

const { values } = parseArgs({ options: { fixtures: { type: "string" } } });
if (values.fixtures === undefined) throw new Error("--fixtures DIR is needed");

let numFailed = 0;
for (const path of globSync(join(values.fixtures, "models/**/*.gguf")).sort()) {
  const expected = JSON.parse(readFileSync(path.replace(/\.gguf$/, ".expected.json"), "utf8")) as Expected;
  try {
    const { difference, limit } = await maxDifference(path, expected);
    if (difference > limit) numFailed++;
    const verdict = difference <= limit ? "ok  " : "FAIL";
    console.log(`${verdict} ${path}: max |difference| ${difference.toExponential(2)}, limit ${limit}`);
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    console.log(`--   ${error.message}`);
  }
}
process.exitCode = numFailed === 0 ? 0 : 1;
