/**
 * Checks the dequantizers and the float64 reference against logits of llama.cpp, where a folder of fixtures is at hand:
 *   node test/support/check-fixtures.ts --fixtures DIR
 * Takes every `X.gguf` under DIR/models that has an `X.expected.json` beside it; what cannot be read is listed with the
 * reader's reason.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { ModelError } from "../../src/model/errors.ts";
import { type Fixture, maxDifference, readFixtures } from "./fixtures.ts";
import { referenceLogits } from "./reference-forward.ts";
import { readWeights } from "./tiny-model.ts";

/**
 * llama.cpp computes in f32, the reference in f64: what their roundings may differ by. With GELU, what the 16-bit table
 * that llama.cpp reads it from is off.
 */
const F32_DIFFERENCE_MAX = 1e-4;
const QUANTIZED_DIFFERENCE_MAX = 1e-3;
const GELU_DIFFERENCE_MAX = 1e-2;

async function check({ path, expected }: Fixture): Promise<{ difference: number; limit: number }> {
  const { spec, weights } = await readWeights(readFileSync(path), path);
  const tokens = [...expected.prompt_ids, ...(expected.greedy_ids ?? [])];
  const logits = referenceLogits(spec, weights, tokens);
  const wanted = expected.dequantized ?? expected.native;
  let difference = wanted === undefined ? 0 : maxDifference(logits, wanted);
  for (const { input_position, full } of expected.logits ?? []) {
    difference = Math.max(difference, ...full.map((value, id) => Math.abs(value - logits[input_position]![id]!)));
  }
  const exactLimit = expected.dequantized === undefined ? F32_DIFFERENCE_MAX : QUANTIZED_DIFFERENCE_MAX;
  return { difference, limit: spec.activation === "gelu-tanh" ? GELU_DIFFERENCE_MAX : exactLimit };
}

const { values } = parseArgs({ options: { fixtures: { type: "string" } } });

let numFailed = 0;
for (const fixture of readFixtures(values.fixtures)) {
  try {
    const { difference, limit } = await check(fixture);
    if (difference > limit) numFailed++;
    const verdict = difference <= limit ? "ok  " : "FAIL";
    console.log(`${verdict} ${fixture.path}: max |difference| ${difference.toExponential(2)}, limit ${limit}`);
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    console.log(`--   ${error.message}`);
  }
}
process.exitCode = numFailed === 0 ? 0 : 1;
