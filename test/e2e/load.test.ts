/** Two hundred clients at once on the real server: each gets its answer, or a 429 that says when to come again. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { numOpenAnswers } from "./clients/work.ts";
import { type RunningServer, startServer } from "./server.ts";

const NUM_CLIENTS = 200;
const MODEL = "runnel-demo";
const persistTo = mkdtempSync(join(tmpdir(), "runnel-load-"));
let server: RunningServer;

beforeAll(async () => {
  server = await startServer({ persistTo });
});

afterAll(async () => {
  await server?.stop();
  rmSync(persistTo, { recursive: true, force: true });
});

const headers = { "content-type": "application/json" };
const post = (path: string, body: object) =>
  fetch(`${server.url}${path}`, { method: "POST", headers, body: JSON.stringify(body) });

/** @returns milliseconds to the end of the answer; "left" where the client went away, "refused" for a 429 */
async function client(i: number): Promise<number | "left" | "refused"> {
  const startedMs = performance.now();
  const response = await ask(i, i % 8 < 4);
  if (response.status === 429) {
    expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
    await response.text();
    return "refused";
  }
  expect([i, response.status]).toEqual([i, 200]);
  if (i % 16 === 1) {
    await response.body!.cancel();
    return "left";
  }
  const text = await response.text();
  expect(text).not.toMatch(/"error":/);
  expect(text).toMatch(/finish_reason":"|"done":true/);
  return performance.now() - startedMs;
}

async function ask(i: number, stream: boolean): Promise<Response> {
  const messages = [{ role: "user", content: `Client ${i} asks for a story.` }];
  const fields = { stream, max_tokens: 8 };
  if (i % 4 === 0) return post("/v1/completions", { model: MODEL, prompt: `Client ${i}`, ...fields });
  if (i % 4 === 1) return post("/v1/chat/completions", { model: MODEL, messages, ...fields });
  if (i % 4 === 2) return post("/api/chat", { model: MODEL, messages, stream, options: { num_predict: 8 } });
  const { id } = (await (await post("/v1/sessions", { model: MODEL })).json()) as { id: string };
  return post(`/v1/sessions/${id}/messages`, { content: "Hi", ...fields });
}

test(`${NUM_CLIENTS} clients at once`, async () => {
  const ends = await Promise.all(Array.from({ length: NUM_CLIENTS }, (_, i) => client(i)));
  const times = ends.filter((end) => typeof end === "number").sort((a, b) => a - b);
  const count = (kind: string) => ends.filter((end) => end === kind).length;
  const at = (share: number) => Math.round(times[Math.floor(times.length * share)]!);
  console.log({ answered: times.length, refused: count("refused"), left: count("left"), p50: at(0.5), p95: at(0.95) });
  expect(times.length).toBeGreaterThan(NUM_CLIENTS / 4);
  await expect.poll(() => numOpenAnswers(server.url), { timeout: 30_000 }).toBe(0);
  expect((await post("/v1/completions", { model: MODEL, prompt: "Hi", max_tokens: 1 })).status).toBe(200);
});
