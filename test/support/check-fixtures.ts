/**
 * Checks the dequantizers and the float64 reference against logits of llama.cpp, where a folder of fixtures is at hand:
 *   node test/support/check-fixtures.ts --fixtures DIR
 * Takes every `X.gguf` under DIR/models that has an `X.expected.json` beside it; what cannot be read is listed with the
 * reader's reason.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ModelError } from "../../src/model/errors.ts";
import { type Expected, expectedModels, maxDifference } from "./expected-logits.ts";
import { referenceLogits } from "./reference-forward.ts";
import { readWeights } from "./tiny-model.ts";

/** llama.cpp computes in f32, the reference in f64: what their roundings may differ by. */
const F32_DIFFERENCE_MAX = 1e-4;
const QUANTIZED_DIFFERENCE_MAX = 1e-3;

async function differenceOf(path: string, expected: Expected): Promise<number> {
  const { spec, weights } = await readWeights(readFileSync(path), path);
  const tokens = [...expected.prompt_ids, ...(expected.greedy_ids ?? [])];
  const logits = referenceLogits(spec, weights, tokens);
  const wanted = expected.dequantized ?? expected.native;
  let max = wanted === undefined ? 0 : maxDifference(logits, wanted);
  for (const { input_position, full } of expected.logits ?? []) {
    full.forEach((value, id) => {
      max = Math.max(max, Math.abs(value - logits[input_position]![id]!));
    });
  }
  return max;
}

const { values } = parseArgs({ options: { fixtures: { type: "string" } } });
if (values.fixtures === undefined) throw new Error("--fixtures DIR is needed");

let numFailed = 0;
for (const { path, expected } of expectedModels(values.fixtures)) {
  try {
    const difference = await differenceOf(path, expected);
    const limit = expected.dequantized === undefined ? F32_DIFFERENCE_MAX : QUANTIZED_DIFFERENCE_MAX;
    if (difference > limit) numFailed++;
    const verdict = difference <= limit ? "ok  " : "FAIL";
    console.log(`${verdict} ${path}: max |difference| ${difference.toExponential(2)}, limit ${limit}`);
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    console.log(`--   ${error.message}`);
  }
}
process.exitCode = numFailed === 0 ? 0 : 1;
