/**
 * Checks the dequantizers and the float64 reference against logits of llama.cpp, where a folder of fixtures is at hand:
 *   node test/support/check-fixtures.ts --fixtures DIR
 * Every `X.gguf` under DIR/models with an `X.expected.json` beside it and an architecture and types that are read.
 */
import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ModelError } from "../../src/model/errors.ts";
import { referenceLogits } from "./reference-forward.ts";
import { readWeights } from "./tiny-model.ts";

/** llama.cpp computes in f32, the reference in f64: what their roundings may differ by. */
const F32_DIFFERENCE_MAX = 1e-4;
const QUANTIZED_DIFFERENCE_MAX = 1e-3;

interface Expected {
  prompt_ids: number[];
  native?: { last: number[]; top: [number, number][][] };
  dequantized?: { last: number[]; top: [number, number][][] };
  logits?: Record<string, number[]>;
}

const { values } = parseArgs({ options: { fixtures: { type: "string" } } });
if (values.fixtures === undefined) throw new Error("--fixtures DIR is needed");

let numFailed = 0;
for (const path of globSync(join(values.fixtures, "models/**/*.gguf")).sort()) {
  try {
    const { spec, weights } = await readWeights(readFileSync(path), path);
    const expected = JSON.parse(readFileSync(path.replace(/\.gguf$/, ".expected.json"), "utf8")) as Expected;
    const logits = referenceLogits(spec, weights, expected.prompt_ids);
    const wanted = expected.dequantized ?? expected.native;
    if (wanted === undefined) {
      console.log(`${path}: other form of expectations: ${Object.keys(expected).join(", ")}`);
      continue;
    }
    const last = logits.at(-1)!;
    let difference = Math.max(...wanted.last.map((value, id) => Math.abs(value - last[id]!)));
    wanted.top.forEach((top, position) => {
      for (const [id, value] of top) difference = Math.max(difference, Math.abs(value - logits[position]![id]!));
    });
    const limit = expected.dequantized === undefined ? F32_DIFFERENCE_MAX : QUANTIZED_DIFFERENCE_MAX;
    const passed = difference <= limit;
    if (!passed) numFailed++;
    console.log(`${passed ? "ok  " : "FAIL"} ${path}: max |difference| ${difference.toExponential(2)} (limit ${limit})`);
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    console.log(`     ${error.kind}: ${error.message}`);
  }
}
process.exitCode = numFailed === 0 ? 0 : 1;
