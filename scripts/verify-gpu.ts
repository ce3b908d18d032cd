/**
 * Compares the GPU engine with logits and text of llama.cpp, where a folder of fixtures is at hand:
 *   node scripts/verify-gpu.ts --fixtures DIR [--only SUBSTRING] [--kv f16|int8] [--software]
 * Takes every `DIR/models/…/X.gguf` of a supported architecture that has `X.expected.json` beside it.
 *
 * Bounds, with f16 pages: NMSE of all logits against a float64 pass over the same weights at most 1e-5 (nothing is rounded
 * but keys, values, and weights of types without a kernel, to f16); stories260K, the first 180 greedy tokens equal. int8
 * pages are for information.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { adapterLabel } from "../src/backends/gpu/adapter.ts";
import { GpuDevice } from "../src/backends/gpu/device.ts";
import { GpuBackend } from "../src/backends/gpu/gpu-backend.ts";
import { ModelError } from "../src/model/errors.ts";
import { readGguf } from "../src/model/gguf-reader.ts";
import { specFromGguf } from "../src/model/spec-from-gguf.ts";
import { type Fixture, nmse, readFixtures } from "../test/support/fixtures.ts";
import { nodeFileSource } from "../test/support/node-file-source.ts";
import { argmax, referenceLogits } from "../test/support/reference-forward.ts";
import { readWeights } from "../test/support/tiny-model.ts";
import { verifyValues } from "./verify-values.ts";

const HELP = `Usage: node scripts/verify-gpu.ts --fixtures DIR [options]

Compares the GPU engine with logits and text of llama.cpp.

  --fixtures DIR    has models/…/X.gguf, each with X.expected.json beside it
  --only SUBSTRING  only files whose path has it
  --kv PRECISION    f16 or int8, which is for information (default: f16)
  --software        run on SwiftShader, on the CPU
  --help            this text

Exit codes: 0 everything is within its bounds, 1 something is not, 2 called wrongly.`;

const NMSE_MAX = 1e-5;
const NUM_GREEDY_TOKENS = 180;

const values = verifyValues(HELP, () => {
  const options = {
    fixtures: { type: "string" },
    only: { type: "string" },
    kv: { type: "string", default: "f16" },
    software: { type: "boolean", default: false },
    help: { type: "boolean" },
  } as const;
  return parseArgs({ options }).values;
});
const kvPrecision = values.kv === "int8" ? "int8" : "f16";

async function load(path: string): Promise<GpuBackend> {
  const source = nodeFileSource(path);
  const { header, data } = await readGguf(source);
  try {
    const spec = specFromGguf(header, source.name);
    const device = await GpuDevice.open({ software: values.software });
    const options = { kvPrecision, maxBatchTokens: 64, maxBatchSequences: 1, contextLength: 512 } as const;
    return await GpuBackend.load({ device, header, data, spec, options });
  } catch (error) {
    await data.cancel();
    throw error;
  }
}

async function logitsOf(backend: GpuBackend, tokens: number[], startPosition = 0): Promise<Float32Array[]> {
  const outputs = tokens.map((_, row) => {
    return { row, sample: null, scoreToken: null, numLogprobs: null, wantLogits: true };
  });
  const blockTable = Array.from({ length: backend.limits.numBlocks }, (_, i) => i);
  const { rows } = await backend.step({ copies: [], sequences: [{ tokens, startPosition, blockTable, outputs }] });
  return rows.map((row) => row.logits!);
}

async function check(backend: GpuBackend, { path, expected }: Fixture): Promise<{ text: string; passed: boolean }> {
  const logits = await logitsOf(backend, expected.prompt_ids);
  const { spec, weights } = await readWeights(readFileSync(path), path);
  const error = nmse(logits, referenceLogits(spec, weights, expected.prompt_ids));
  const text = `NMSE ${error.toExponential(2)}`;
  const wanted = expected.greedy_ids;
  if (wanted === undefined) return { text, passed: error <= NMSE_MAX };
  let numEqual = 0;
  let next = argmax(logits.at(-1)!);
  while (numEqual < wanted.length && next === wanted[numEqual]) {
    const [row] = await logitsOf(backend, [next], expected.prompt_ids.length + numEqual);
    next = argmax(row!);
    numEqual++;
  }
  const passed = error <= NMSE_MAX && numEqual >= NUM_GREEDY_TOKENS;
  return { text: `${text}, ${numEqual} of ${wanted.length} greedy tokens`, passed };
}

let numFailed = 0;
let isNamed = false;
for (const fixture of readFixtures(values.fixtures, values.only)) {
  try {
    const backend = await load(fixture.path);
    if (!isNamed) console.log(`${adapterLabel(backend.adapter)}, ${kvPrecision} pages`);
    isNamed = true;
    const { text, passed } = await check(backend, fixture);
    const isBound = kvPrecision === "f16";
    if (isBound && !passed) numFailed++;
    console.log(`${isBound ? (passed ? "ok  " : "FAIL") : "info"} ${fixture.name}: ${text}`);
    backend.dispose();
  } catch (error) {
    if (!(error instanceof ModelError)) throw error;
    console.log(`--   ${error.message}`);
  }
}
process.exitCode = numFailed === 0 ? 0 : 1;
