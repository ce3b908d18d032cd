/**
 * Compares the CPU engine with logits and text of llama.cpp, where a folder of fixtures is at hand:
 *   node scripts/verify-fixtures.ts --fixtures DIR [--pkg DIR] [--only SUBSTRING] [--sets scalar,simd128] [--kv f32,q8]
 * Takes every `DIR/models/…/X.gguf` of a supported architecture and type that has `X.expected.json` beside it, on every
 * kernel set, with an f32 and (for information) an f16, an i16 and a q8 KV cache. Exit code 1 when any bound is missed with f32.
 *
 * Bounds: F32 weights, largest |difference| of a logit 1e-3, of models with GELU 1e-2 (llama.cpp reads it from a 16-bit
 * table, up to 3e-3 off); others, NMSE against the dequantized weights at most 1.25 ×
 * what llama.cpp's own arithmetic has there; stories260K, the first 180 greedy tokens equal.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { CpuBackend } from "../src/backends/cpu/cpu-backend.ts";
import { KERNEL_SETS, type KernelSet } from "../src/backends/cpu/kernel-set.ts";
import { KV_PRECISIONS, type KvPrecision } from "../src/backends/cpu/memory-plan.ts";
import { ModelError } from "../src/model/errors.ts";
import { readGguf } from "../src/model/gguf-reader.ts";
import type { ModelSpec } from "../src/model/model-spec.ts";
import { specFromGguf } from "../src/model/spec-from-gguf.ts";
import type { RowOutput } from "../src/serving/backend.ts";
import { fromGguf } from "../src/text/from-gguf.ts";
import type { Tokenizer } from "../src/text/tokenizer.ts";
import { type Expected, type ExpectedLogits, maxDifference, nmse, readFixtures } from "../test/support/fixtures.ts";
import { kernelModules } from "../test/support/kernel-modules.ts";
import { nodeFileSource } from "../test/support/node-file-source.ts";
import { referenceLogits } from "../test/support/reference-forward.ts";
import { readWeights } from "../test/support/tiny-model.ts";
import { verifyValues } from "./verify-values.ts";

const HELP = `Usage: node scripts/verify-fixtures.ts --fixtures DIR [options]

Compares the CPU engine with logits and text of llama.cpp.

  --fixtures DIR    has models/…/X.gguf, each with X.expected.json beside it
  --only SUBSTRING  only files whose path has it
  --pkg DIR         the engine's build (default: wasm/pkg)
  --sets LIST       kernel sets: scalar, simd128, … (default: all)
  --kv LIST         precisions of the KV cache; bounds hold for f32 (default: all)
  --help            this text

Exit codes: 0 everything is within its bounds, 1 something is not, 2 called wrongly.`;

const F32_DIFFERENCE_MAX: Record<ModelSpec["activation"], number> = { silu: 1e-3, "gelu-tanh": 1e-2 };
const NMSE_RATIO_MAX = 1.25;
const NUM_GREEDY_TOKENS = 180;

interface Verdict {
  text: string;
  passed: boolean;
}

interface Loaded {
  backend: CpuBackend;
  spec: ModelSpec;
  tokenizer: Tokenizer;
}

const LOGITS_ONLY = { sample: null, scoreToken: null, numLogprobs: null, wantLogits: true };

async function load(path: string, set: KernelSet, kvPrecision: KvPrecision, pkg: string | undefined): Promise<Loaded> {
  const source = nodeFileSource(path);
  const { header, data } = await readGguf(source);
  try {
    const spec = specFromGguf(header, source.name);
    const modules = kernelModules([set], pkg);
    const options = { kvPrecision, maxBatchTokens: 64, maxBatchSequences: 1, contextLength: 512 };
    const backend = await CpuBackend.load({ modules, header, data, spec, options });
    return { backend, spec, tokenizer: fromGguf(header) };
  } catch (error) {
    await data.cancel();
    throw error;
  }
}

/** Logits after each of `tokens`, run as one chunk at position `start`. */
function logitsOf(backend: CpuBackend, tokens: number[], start = 0): Float32Array[] {
  const outputs: RowOutput[] = tokens.map((_, row) => ({ row, ...LOGITS_ONLY }));
  const blockTable = Array.from({ length: backend.limits.numBlocks }, (_, i) => i);
  const { rows } = backend.step({ copies: [], sequences: [{ tokens, startPosition: start, blockTable, outputs }] });
  return rows.map((row) => row.logits!);
}

function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i]! > values[best]!) best = i;
  return best;
}

/** The vocabulary in the file makes the prompt's ids of its text. */
function checkTokenizer(tokenizer: Tokenizer, { prompt_text: text, prompt_ids: wanted }: Expected, path: string): void {
  if (text === undefined) return;
  const ids = tokenizer.encode(text, { addSpecialTokens: true, parseSpecial: true }).slice(0, wanted.length);
  if (ids.join() !== wanted.join()) throw new Error(`${path}: the prompt's ids are ${ids}, expected ${wanted}`);
}

/** Of the last position, the one that is known whole. */
function lastNmse(logits: Float32Array[], { last }: ExpectedLogits): number {
  return nmse([logits.at(-1)!], [Float64Array.from(last)]);
}

async function verifyRandomModel({ backend, spec }: Loaded, expected: Expected, path: string): Promise<Verdict> {
  const logits = logitsOf(backend, expected.prompt_ids);
  const { native, dequantized } = expected;
  if (dequantized === undefined) {
    const difference = maxDifference(logits, native!);
    const text = `max |difference| ${difference.toExponential(2)}, NMSE ${lastNmse(logits, native!).toExponential(2)}`;
    return { text, passed: difference <= F32_DIFFERENCE_MAX[spec.activation] };
  }
  // The file holds the dequantized logits whole for the last position only. The float64 reference, which agrees with
  // those (checked by test/support/check-fixtures.ts), has them for all, and one position alone says little.
  const { weights } = await readWeights(readFileSync(path), path);
  const exact = referenceLogits(spec, weights, expected.prompt_ids);
  const error = nmse(logits, exact);
  const theirs = expected.nmse_native_vs_dequantized!;
  const agreeing = exact.filter((row, position) => argmax(row) === argmax(logits[position]!)).length;
  const ratio = error / theirs;
  const text =
    `NMSE ${error.toExponential(2)} = ${ratio.toFixed(2)} × llama.cpp's ${theirs.toExponential(2)}, ` +
    `top-1 ${agreeing}/${exact.length}`;
  return { text, passed: ratio <= NMSE_RATIO_MAX };
}

function verifyTrainedModel({ backend, spec }: Loaded, expected: Expected): Verdict {
  const wanted = expected.greedy_ids!;
  let logits = logitsOf(backend, expected.prompt_ids);
  let difference = 0;
  const compare = (position: number, actual: Float32Array) => {
    const known = expected.logits?.find((entry) => entry.input_position === position);
    known?.full.forEach((value, i) => {
      difference = Math.max(difference, Math.abs(value - actual[i]!));
    });
  };
  logits.forEach((row, position) => {
    compare(position, row);
  });
  let numEqual = 0;
  let position = expected.prompt_ids.length;
  while (numEqual < wanted.length && argmax(logits.at(-1)!) === wanted[numEqual]) {
    logits = logitsOf(backend, [wanted[numEqual]!], position);
    compare(position, logits[0]!);
    numEqual++;
    position++;
  }
  return {
    text: `greedy text equal for ${numEqual}/${wanted.length} tokens, max |difference| ${difference.toExponential(2)}`,
    passed: numEqual >= NUM_GREEDY_TOKENS && difference <= F32_DIFFERENCE_MAX[spec.activation],
  };
}

const values = verifyValues(HELP, () => {
  const options = {
    fixtures: { type: "string" },
    pkg: { type: "string" },
    only: { type: "string" },
    sets: { type: "string" },
    kv: { type: "string" },
    help: { type: "boolean" },
  } as const;
  return parseArgs({ options }).values;
});
const sets = KERNEL_SETS.filter((set) => values.sets === undefined || values.sets.split(",").includes(set));
const precisions = KV_PRECISIONS.filter((kv) => values.kv === undefined || values.kv.split(",").includes(kv));

let [numPassed, numMissed] = [0, 0];
for (const { path, name, expected } of readFixtures(values.fixtures, values.only)) {
  for (const kvPrecision of precisions) {
    for (const set of sets) {
      try {
        const loaded = await load(path, set, kvPrecision, values.pkg);
        checkTokenizer(loaded.tokenizer, expected, path);
        const verify = expected.greedy_ids === undefined ? verifyRandomModel : verifyTrainedModel;
        const { text, passed } = await verify(loaded, expected, path);
        const counted = kvPrecision === "f32";
        if (counted && passed) numPassed++;
        if (counted && !passed) numMissed++;
        const mark = counted ? (passed ? "ok  " : "MISS") : "    ";
        console.log(`${mark} ${name.padEnd(24)} ${set.padEnd(8)} kv ${kvPrecision}  ${text}`);
      } catch (error) {
        if (!(error instanceof ModelError)) throw error;
        if (kvPrecision === precisions[0] && set === sets[0]) console.log(`--   ${error.message}`);
      }
    }
  }
}
console.log(`${numPassed} within their bounds, ${numMissed} not.`);
process.exitCode = numMissed === 0 && (numPassed > 0 || !precisions.includes("f32")) ? 0 : 1;
