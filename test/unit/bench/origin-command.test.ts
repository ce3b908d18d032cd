/** `npm run bench:origin` as a person runs it, in a process of its own, against a server over a socket. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { OriginResults } from "../../../scripts/bench/results.ts";

const COMMAND = join(import.meta.dirname, "../../../scripts/bench/origin.ts");

interface Body {
  prompt: string | number[];
  max_tokens: number;
}

/** Takes words only, of three tokens each; answers at once; refuses every fifth prompt after the first request. */
function wordServer(bodies: Body[]): Server {
  return createServer(async (request, response) => {
    let text = "";
    for await (const piece of request) text += piece;
    const body = JSON.parse(text) as Body;
    if (typeof body.prompt !== "string") {
      response.writeHead(400).end("prompts are text here");
      return;
    }
    bodies.push(body);
    if (bodies.length % 5 === 0) {
      response.writeHead(503).end("busy");
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (let i = 0; i < body.max_tokens; i++) response.write('data: {"choices":[{"text":"x"}]}\n\n');
    const usage = { prompt_tokens: 3 * body.prompt.split(" ").length, completion_tokens: body.max_tokens };
    response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
  });
}

const bodies: Body[] = [];
const server = wordServer(bodies);
const folder = mkdtempSync(join(tmpdir(), "runnel-bench-origin-"));

beforeAll(async () => {
  await once(server.listen(0, "127.0.0.1"), "listening");
});

afterAll(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

async function run(args: string[]): Promise<{ code: number | null; output: string }> {
  const child: ChildProcess = spawn(process.execPath, [COMMAND, ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream!.on("data", (piece) => (output += piece));
  const [code] = (await once(child, "close")) as [number | null];
  return { code, output };
}

test("measures, says what failed, and writes its results", async () => {
  const json = join(folder, "origin.json");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  const load = ["--num-prompts", "8", "--input-len", "60", "--output-len", "4", "--max-concurrency", "2"];
  const args = ["--url", url, "--model", "m", ...load, "--goodput", "e2el:60000", "--label", "words", "--json", json];
  const { code, output } = await run(args);
  expect(output).toContain("m at words: all at once, at most 2 together; random prompts as text, completions.");
  expect(output).toContain("failed 1 ×: HTTP 503: busy");
  expect(code).toBe(0);

  const results = JSON.parse(readFileSync(json, "utf8")) as OriginResults;
  const { metrics, samples, maxConcurrency, ratePerS } = results.runs[0]!;
  expect({ maxConcurrency, ratePerS, promptKind: results.promptKind }).toEqual({
    maxConcurrency: 2,
    ratePerS: null,
    promptKind: "text",
  });
  // The first request said that a word has three tokens: 20 words are about 60.
  expect(metrics).toMatchObject({ completed: 7, failed: 1, inputTokens: 7 * 60, outputTokens: 28 });
  expect(metrics.goodRequestsPerS).toBe(metrics.requestsPerS);
  expect(metrics.peakConcurrency).toBeLessThanOrEqual(2);
  expect(samples.ttftMs).toHaveLength(7);
  expect(bodies).toHaveLength(9);
  expect(bodies[1]).toMatchObject({ model: "m", max_tokens: 4, temperature: 0, ignore_eos: true, stream: true });
});

test("where nobody listens it says so, and where it is called wrongly, how to call it", async () => {
  const nowhere = await run(["--url", "http://127.0.0.1:1/v1", "--model", "m"]);
  expect(nowhere).toMatchObject({ code: 1 });
  expect(nowhere.output).toContain("does not answer a first request");
  const wrong = await run(["--url", "http://127.0.0.1:1/v1"]);
  expect(wrong).toMatchObject({ code: 2 });
  expect(wrong.output).toContain("--model is missing");
});
