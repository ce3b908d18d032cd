/**
 * Compares what the running server reports with logits of llama.cpp, where a folder of fixtures is at hand:
 *   node scripts/verify-api.ts --fixtures DIR [--only SUBSTRING]
 * Adds every `DIR/models/…/X.gguf` as a person would (`npm run model -- add`), asks `POST /v1/completions` for `echo` and
 * `logprobs` of its prompt, once with each of the likeliest tokens after it, and removes it again. (Alternatives are
 * not compared: they go by their texts, and in some vocabularies a byte token has that of a letter.) The server and its
 * data live in a folder of their own.
 *
 * The file has all logits of the last position only; log probabilities of the others are those of the float64 forward
 * pass, whose logits are compared with all that the file has first. The server keeps K and V as f16, which alone moves
 * logits by up to 1e-2, so the bounds are wider than those of `verify-fixtures.ts`. Exit code 1 when one is missed.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ModelError } from "../src/model/errors.ts";
import { startServer } from "../test/e2e/server.ts";
import { type Expected, type Fixture, maxDifference, readFixtures } from "../test/support/fixtures.ts";
import { referenceLogits } from "../test/support/reference-forward.ts";
import { logSoftmax } from "../test/support/reference-sampler.ts";
import { readWeights } from "../test/support/tiny-model.ts";
import { verifyValues } from "./verify-values.ts";

const HELP = `Usage: node scripts/verify-api.ts --fixtures DIR [options]

Compares what the running server reports with logits of llama.cpp.

  --fixtures DIR    has models/…/X.gguf, each with X.expected.json beside it
  --only SUBSTRING  only files whose path has it
  --help            this text

Exit codes: 0 everything is within its bounds, 1 something is not, 2 called wrongly.`;

/** Of a log probability, F32 weights. */
const F32_DIFFERENCE_MAX = 2e-2;
/** Mean square error over the variance of the logits, other weights: the bound for scales per 256 of the fixtures. */
const NMSE_MAX = 5e-3;
/** Of the float64 logits from llama.cpp's. GELU comes from a 16-bit table there. */
const REFERENCE_DIFFERENCE_MAX = 1e-2;

const ROOT = join(import.meta.dirname, "..");

function model(command: string[], persistTo: string): void {
  const args = [join(ROOT, "scripts/model.mjs"), ...command, "--persist-to", persistTo];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`npm run model -- ${command.join(" ")} failed: ${stderr}`);
}

/** Log probability of every token of each prompt; null for the first. */
async function logprobsOf(url: string, id: string, prompts: number[][]): Promise<(number | null)[][]> {
  const body = { model: id, prompt: prompts, echo: true, logprobs: 0, max_tokens: 1, temperature: 0 };
  // Between two models there is time enough for an idle connection to be closed.
  const headers = { "content-type": "application/json", connection: "close" };
  const response = await fetch(`${url}/v1/completions`, { method: "POST", headers, body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${id}: ${response.status} ${await response.text()}`);
  const { choices } = (await response.json()) as { choices: { logprobs: { token_logprobs: (number | null)[] } }[] };
  return choices.map(({ logprobs }) => logprobs.token_logprobs);
}

/** Log probabilities [position][token] of the prompt and the logits' variance. */
async function expectedLogprobs({ path, name, expected }: Fixture) {
  const { spec, weights } = await readWeights(readFileSync(path), path);
  const logits = referenceLogits(spec, weights, expected.prompt_ids);
  const off = maxDifference(logits, expectedLogits(expected));
  if (off > REFERENCE_DIFFERENCE_MAX) throw new Error(`${name}: the float64 forward pass is ${off} off llama.cpp`);
  // The last position is in the file, whole.
  logits[logits.length - 1] = Float64Array.from(expectedLogits(expected).last);
  const all = logits.flatMap((row) => [...row]);
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
  const variance = all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / all.length;
  return { rows: logits.map((row) => [...logSoftmax(row)]), variance };
}

function expectedLogits({ dequantized, native }: Expected) {
  return (dequantized ?? native)!;
}

async function verify(url: string, fixture: Fixture, persistTo: string): Promise<{ text: string; passed: boolean }> {
  const { name, path, expected } = fixture;
  const { rows, variance } = await expectedLogprobs(fixture);
  const prompt = expected.prompt_ids;
  const likeliest = expectedLogits(expected)
    .top.at(-1)!
    .map(([id]) => id);
  model(["add", path, "--name", name], persistTo);
  const prompts = likeliest.map((id) => [...prompt, id]);
  const reported = await logprobsOf(url, name, prompts);
  model(["remove", name], persistTo);
  const off = reported.flatMap((logprobs, i) =>
    rows.map((row, position) => logprobs[position + 1]! - row[prompts[i]![position + 1]!]!),
  );
  if (expected.dequantized === undefined) {
    const max = Math.max(...off.map(Math.abs));
    return { text: `max |difference| ${max.toExponential(2)}`, passed: max <= F32_DIFFERENCE_MAX };
  }
  const nmse = off.reduce((sum, value) => sum + value ** 2, 0) / off.length / variance;
  return { text: `NMSE ${nmse.toExponential(2)}`, passed: nmse <= NMSE_MAX };
}

const values = verifyValues(HELP, () => {
  const options = { fixtures: { type: "string" }, only: { type: "string" }, help: { type: "boolean" } } as const;
  return parseArgs({ options }).values;
});
const fixtures = readFixtures(values.fixtures, values.only).filter(({ expected }) => expected.native !== undefined);
const persistTo = mkdtempSync(join(tmpdir(), "runnel-verify-api-"));
const server = await startServer({ persistTo, args: ["--no-warm"] });
let [numPassed, numMissed] = [0, 0];
try {
  for (const fixture of fixtures) {
    try {
      const { text, passed } = await verify(server.url, fixture, persistTo);
      if (passed) numPassed++;
      else numMissed++;
      console.log(`${passed ? "ok  " : "MISS"} ${fixture.name.padEnd(24)} ${text}`);
    } catch (error) {
      if (!(error instanceof ModelError)) throw error;
      console.log(`--   ${error.message}`);
    }
  }
} finally {
  await server.stop();
  rmSync(persistTo, { recursive: true, force: true });
}
console.log(`${numPassed} within their bounds, ${numMissed} not.`);
process.exitCode = numMissed === 0 && numPassed > 0 ? 0 : 1;
