/** Engine processes on a software GPU that fail for real, behind a model of the server: the next one goes on. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../src/api/clock.ts";
import { drawSeed } from "../../src/api/random-seed.ts";
import { forkEngineFrom } from "../../src/origin/fork-engine.ts";
import { ModelMeter } from "../../src/origin/meters.ts";
import { createMetrics } from "../../src/origin/metrics.ts";
import { RECOVERY_LIMITS } from "../../src/origin/recovery.ts";
import { RemoteModel } from "../../src/origin/remote-model.ts";
import { SUPERVISOR_LIMITS } from "../../src/origin/supervisor.ts";
import type { GenerateRequest } from "../../src/protocol/generate.ts";
import { PLAIN_REQUEST } from "../../src/protocol/plain-request.ts";
import { DEVICE_LOSING_REQUEST, FATAL_REQUEST } from "../support/engine-faults.ts";
import { GREEDY } from "../support/sampling.ts";
import { tinyModel } from "../support/tiny-model.ts";

const folder = mkdtempSync(join(tmpdir(), "runnel-faults-"));
const path = join(folder, "tiny.gguf");
const lines: string[] = [];

const model = new RemoteModel({
  config: {
    modelId: "tiny",
    path,
    adapters: [],
    software: true,
    contextLength: null,
    kvBytes: null,
    kvPrecision: "f16",
    batchTokensMax: 64,
    runningMax: 4,
    waitingMax: 12,
    speculation: "off",
    draftPath: null,
  },
  spawn: forkEngineFrom(join(import.meta.dirname, "../support/faulty-engine.ts")),
  clock: systemClock,
  // One loss less than usual, because each costs a start.
  limits: { ...SUPERVISOR_LIMITS, ...RECOVERY_LIMITS, lossesMax: 1 },
  drawSeed,
  meter: new ModelMeter(createMetrics(), "tiny", () => performance.now()),
  log: (line) => lines.push(line),
});

beforeAll(async () => {
  writeFileSync(path, (await tinyModel({ name: "tiny" })).bytes);
  await model.supervisor.start();
});

afterAll(async () => {
  await model.supervisor.stop();
  rmSync(folder, { recursive: true, force: true });
});

const ask = (text: string, changes: Partial<GenerateRequest> = {}): GenerateRequest => ({
  ...PLAIN_REQUEST,
  requestId: text,
  model: "tiny",
  prompts: [{ kind: "text", text }],
  maxTokens: 24,
  ignoreEos: true,
  ...changes,
});

const SAMPLED = { ...GREEDY, temperature: 1, seed: 7 };

/** The texts of its choices. */
async function say(request: GenerateRequest): Promise<string[]> {
  const stream = await model.generate(request);
  const texts = Array.from({ length: request.n }, () => "");
  for (let event = await stream.next(); event !== null; event = await stream.next()) {
    if (event.type === "delta") texts[event.index] += event.text;
    if (event.type === "error") throw new Error(event.message);
  }
  return texts;
}

test("a lost device ends its engine, and what it was answering goes on to the same end", async () => {
  const requests = [ask("greedy"), ask("sampled", { sampling: SAMPLED }), ask("two", { sampling: SAMPLED, n: 2 })];
  const whole: string[][] = [];
  for (const request of requests) whole.push(await say(request));
  const [first, ...others] = requests;
  const said = await Promise.all([{ ...first!, requestId: DEVICE_LOSING_REQUEST }, ...others].map(say));
  expect(said).toEqual(whole);
  expect(model.supervisor.numRestarts).toBe(1);
  expect(lines).toEqual([expect.stringMatching(/^The engine of 'tiny' is lost and starts again in 250 ms\./)]);
});

test("a request that ends every engine fails with a clear error, and the one beside it is answered", async () => {
  const [whole] = await say(ask("beside it", { sampling: SAMPLED }));
  const beside = say(ask("beside it", { sampling: SAMPLED }));
  const fatal = model.generate(ask("anything", { requestId: FATAL_REQUEST }));
  await expect(fatal).rejects.toMatchObject({
    status: 500,
    code: "engine_failed",
    message:
      "The engine of 'tiny' failed 2 times while it worked on this answer, so it is not tried again. Other requests are answered.",
  });
  expect(await beside).toEqual([whole]);
  expect(model.supervisor.numRestarts).toBe(3);
  expect(model.numOpen).toBe(0);
});
