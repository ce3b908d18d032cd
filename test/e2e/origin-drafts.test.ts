/**
 * `npm run origin -- --draft-model`, whole, on a software GPU: what a smaller model guesses changes no text, and the guesses
 * that were right are counted. The model guesses for itself here: another one of random weights would hardly ever be right.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, expect, test } from "vitest";
import { tinyModel } from "../support/tiny-model.ts";
import { type RunningOrigin, startOrigin } from "./origin-server.ts";

const folder = mkdtempSync(join(tmpdir(), "runnel-drafts-"));
const path = join(folder, "tiny.gguf");
writeFileSync(path, (await tinyModel({ name: "tiny" })).bytes);

const running: RunningOrigin[] = [];

afterAll(async () => {
  for (const origin of running) origin.signal("SIGKILL");
  await Promise.all(running.map(({ ended }) => ended));
  rmSync(folder, { recursive: true, force: true });
});

async function start(args: string[]) {
  const origin = await startOrigin(["--model", path, "--batch-tokens", "64", "--max-running", "4", ...args]);
  running.push(origin);
  return { origin, client: new OpenAI({ baseURL: `${origin.url}/v1`, apiKey: "any", maxRetries: 0 }) };
}

/** Greedy and sampled, beside each other: drafts are for steps of few. */
async function answers(client: OpenAI) {
  const more = { max_tokens: 40, ignore_eos: true };
  const kinds = [{ temperature: 0 }, { temperature: 0.7, seed: 4, presence_penalty: 0.5 }];
  const asked = kinds.map((kind) =>
    client.completions.create({ model: "tiny", prompt: "once upon a time", ...more, ...kind }),
  );
  return Promise.all(asked);
}

async function metric(origin: RunningOrigin, name: string): Promise<number> {
  const lines = (await (await fetch(`${origin.url}/metrics`)).text()).split("\n");
  const found = lines.filter((line) => line.startsWith(`${name}{model_name="tiny"`));
  return found.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

test("a draft model changes no text, and its right guesses are in usage and metrics", async () => {
  const [plain, drafting] = await Promise.all([start([]), start(["--drafts", "3", "--draft-model", path])]);
  const wanted = await answers(plain.client);
  const said = await answers(drafting.client);
  expect(said.map(({ choices }) => choices)).toEqual(wanted.map(({ choices }) => choices));
  const numAccepted = said.reduce(
    (sum, { usage }) => sum + (usage!.completion_tokens_details?.accepted_prediction_tokens ?? 0),
    0,
  );
  expect(numAccepted).toBeGreaterThan(0);
  expect(await metric(drafting.origin, "vllm:spec_decode_num_accepted_tokens_total")).toBe(numAccepted);
  expect(await metric(drafting.origin, "vllm:spec_decode_num_accepted_tokens_per_pos_total")).toBe(numAccepted);
  expect(await metric(drafting.origin, "vllm:spec_decode_num_drafts_total")).toBeGreaterThan(0);
  expect(await metric(plain.origin, "vllm:spec_decode_num_draft_tokens_total")).toBe(0);
});
