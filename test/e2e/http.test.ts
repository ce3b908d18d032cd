/**
 * The README's promise, on the real server with the real demo model: `npm start`, then curl, the openai client, sessions
 * that survive a restart, and a bundle that can be deployed.
 */
import { execFile } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type HeapUsage, heapUsage } from "../../scripts/bench/inspector.ts";
import { ISOLATE_BUDGET_BYTES, JS_RESERVE_BYTES } from "../../src/edge/budget.ts";
import { freePort, type RunningServer, startServer } from "./server.ts";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");
const GREEDY = { temperature: 0, max_tokens: 24 } as const;

const JSON_HEADERS = { "content-type": "application/json" };

const persistTo = mkdtempSync(join(tmpdir(), "runnel-e2e-"));
let server: RunningServer;
let inspectorPort: number;
let heapAtStart: HeapUsage;
let model: string;

beforeAll(async () => {
  inspectorPort = await freePort();
  server = await startServer({ persistTo, args: ["--inspector-port", String(inspectorPort)] });
  heapAtStart = await heapUsage(inspectorPort);
  const { data } = (await (await fetch(`${server.url}/v1/models`)).json()) as { data: { id: string }[] };
  model = data[0]!.id;
});

afterAll(async () => {
  await server.stop();
  rmSync(persistTo, { recursive: true, force: true });
});

describe("npm start", () => {
  test("prints one line with the address, the model and the engine", () => {
    expect(server.readyLine).toMatch(
      /^runnel is ready: http:\/\/127\.0\.0\.1:\d+ {2}\(model \S+, engine wasm-\S+, \d+ ms\)$/,
    );
    expect(server.output().match(/runnel is ready/g)).toHaveLength(1);
  });

  test("says so when the port is taken", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    await new Promise((resolve) => taken.once("listening", resolve));
    const { port } = taken.address() as { port: number };
    const failed = await run("node", ["scripts/start.mjs", "--port", String(port)], { cwd: ROOT }).catch((e) => e);
    taken.close();
    expect(failed.code).toBe(1);
    expect(failed.stderr).toContain(`Port ${port} is in use`);
  });

  test("takes everything down with it", async () => {
    const port = await freePort();
    const other = await startServer({ persistTo: join(persistTo, "other"), port, args: ["--no-warm"] });
    await other.stop();
    await expect(fetch(`${other.url}/health`)).rejects.toThrow();
    // The port can be taken again at once, so no child holds it.
    const probe = createServer().listen(port, "127.0.0.1");
    await new Promise((resolve, reject) => probe.once("listening", resolve).once("error", reject));
    probe.close();
  });
});

describe("without API keys", () => {
  const asked = (headers: Record<string, string>) =>
    new Promise<number | undefined>((resolve, reject) => {
      // `fetch` would not let a test choose its host.
      const sent = request(`${server.url}/v1/models`, { headers }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.on("error", reject).end();
    });

  test("it answers to this machine's own names only, whatever name the browser was made to ask for", async () => {
    expect(await asked({ host: `localhost:${server.port}` })).toBe(200);
    expect(await asked({ host: "runnel.example.com" })).toBe(401);
  });

  test("only pages of this machine may ask, and the metrics are open to it", async () => {
    expect(await asked({ origin: "http://localhost:5173" })).toBe(200);
    expect(await asked({ origin: "https://evil.example" })).toBe(403);
    expect((await fetch(`${server.url}/metrics`)).status).toBe(200);
  });
});

describe("the chat page", () => {
  test("is served with a policy that allows no foreign code", async () => {
    const page = await fetch(`${server.url}/`);
    expect(page.status).toBe(200);
    expect(page.headers.get("content-type")).toContain("text/html");
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(page.headers.get("x-content-type-options")).toBe("nosniff");
    const script = await fetch(`${server.url}/app.js`);
    expect(script.headers.get("content-type")).toContain("javascript");
  });
});

describe("the API", () => {
  test("streams a chat to curl", async () => {
    const body = JSON.stringify({ model, messages: [{ role: "user", content: "Hello!" }], stream: true, ...GREEDY });
    const headers = ["-H", "content-type: application/json"];
    const { stdout } = await run("curl", ["-sN", `${server.url}/v1/chat/completions`, ...headers, "-d", body]);
    const events = stdout.trim().split("\n\n");
    expect(events.at(-1)).toBe("data: [DONE]");
    const chunks = events.slice(0, -1).map((event) => JSON.parse(event.replace(/^data: /, "")));
    const text = chunks.map((chunk) => chunk.choices[0].delta.content ?? "").join("");
    expect(text.length).toBeGreaterThan(10);
    expect(chunks.at(-1).choices[0].finish_reason).toMatch(/^(stop|length)$/);
  });

  test("answers the openai client, streamed and whole alike", async () => {
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "unused", maxRetries: 0 });
    expect((await client.models.list()).data.map(({ id }) => id)).toContain(model);
    const messages = [{ role: "user" as const, content: "What is a KV cache?" }];
    const whole = await client.chat.completions.create({ model, messages, ...GREEDY });
    const options = { model, messages, ...GREEDY, stream_options: { include_usage: true } };
    const streamed = await client.chat.completions.stream(options).finalChatCompletion();
    expect(streamed.choices[0]!.message.content).toBe(whole.choices[0]!.message.content);
    expect(streamed.usage!.completion_tokens).toBe(whole.usage!.completion_tokens);
  });

  test("gives the openai client errors that it understands", async () => {
    const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "unused", maxRetries: 0 });
    const messages = [{ role: "user" as const, content: "Hi" }];
    const refused = await client.chat.completions.create({ model: "nope", messages }).catch((error) => error);
    expect(refused).toBeInstanceOf(OpenAI.NotFoundError);
    expect(refused.code).toBe("model_not_found");
  });
});

describe("a client that goes away", () => {
  const stats = async () => {
    const { stats } = (await (await fetch(`${server.url}/ready`)).json()) as { stats: Record<string, number> };
    return { numOpen: stats.numRunning! + stats.numWaiting!, numSteps: stats.numSteps! };
  };

  /** `wrangler dev` tells the Worker of a closed connection only while it streams; the other case is in test/edge. */
  test("ends its generation", async () => {
    const before = await stats();
    const gone = new AbortController();
    const messages = [{ role: "user", content: "Tell me a story." }];
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: JSON_HEADERS,
      body: JSON.stringify({ model, messages, max_tokens: 900, ignore_eos: true, stream: true }),
      signal: gone.signal,
    });
    await response.body!.getReader().read();
    gone.abort();
    const deadlineMs = Date.now() + 30_000;
    while ((await stats()).numOpen > 0 && Date.now() < deadlineMs)
      await new Promise((resolve) => setTimeout(resolve, 20));
    const after = await stats();
    expect(after.numOpen).toBe(0);
    expect(after.numSteps - before.numSteps).toBeLessThan(800);
  });
});

describe("memory", () => {
  const linearBytes = async () => {
    const { memory } = (await (await fetch(`${server.url}/ready`)).json()) as { memory: Record<string, number> };
    return memory.weightsBytes! + memory.kvBytes! + memory.scratchBytes!;
  };

  test("of the isolate stays within the platform's 128 MB, garbage and all, with the demo in full use", async () => {
    const stream = (i: number) =>
      fetch(`${server.url}/v1/chat/completions`, {
        method: "POST",
        headers: JSON_HEADERS,
        body: JSON.stringify({
          model,
          messages: [{ role: "user", content: `${i} words` }],
          stream: true,
          max_tokens: 64,
        }),
      }).then((response) => response.text());
    await Promise.all(Array.from({ length: 8 }, (_, i) => stream(i)));
    const heap = await heapUsage(inspectorPort);
    const heapBytes = heap.totalSize + heap.embedderHeapUsedSize + heap.backingStorageSize;
    expect(heapBytes + (await linearBytes())).toBeLessThan(ISOLATE_BUDGET_BYTES);
  });

  test("that the table sets aside for JS is at least twice what is live with the demo loaded", () => {
    expect(2 * (heapAtStart.usedSize + heapAtStart.embedderHeapUsedSize)).toBeLessThan(JS_RESERVE_BYTES);
  });
});

test("a session survives a restart of the server", async () => {
  const post = (path: string, body: unknown) =>
    fetch(`${server.url}${path}`, {
      method: "POST",
      headers: JSON_HEADERS,
      body: JSON.stringify(body),
    });
  const { id } = (await (await post("/v1/sessions", {})).json()) as { id: string };
  const first = await post(`/v1/sessions/${id}/messages`, { content: "What is prefill?", ...GREEDY });
  expect(first.status).toBe(200);
  await first.text();
  const before = await (await fetch(`${server.url}/v1/sessions/${id}`)).json();

  await server.stop();
  server = await startServer({ persistTo });

  expect(await (await fetch(`${server.url}/v1/sessions/${id}`)).json()).toEqual(before);
  const second = await post(`/v1/sessions/${id}/messages`, { content: "And decode?", ...GREEDY });
  expect(second.status).toBe(200);
  await second.text();
  const after = (await (await fetch(`${server.url}/v1/sessions/${id}`)).json()) as { messages: unknown[] };
  expect(after.messages).toHaveLength(4);
});

describe("the bundle", () => {
  /** wrangler's own limit is 64 MiB; the script also lives in the isolate's heap, so every byte of it is taken from the model. */
  const SCRIPT_BYTES_MAX = 600_000;
  const WASM_BYTES_MAX = 750_000;

  test("can be deployed, and stays small", async () => {
    const outdir = join(persistTo, "bundle");
    const args = ["deploy", "--dry-run", "--minify", "--outdir", outdir];
    const env = { ...process.env, CLOUDFLARE_CF_FETCH_ENABLED: "false", WRANGLER_SEND_METRICS: "false" };
    const { stdout } = await run("wrangler", args, { cwd: ROOT, env });
    expect(stdout).toContain("env.CHAT_SESSION (ChatSession)");
    const sizes = readdirSync(outdir).map((name) => ({ name, bytes: statSync(join(outdir, name)).size }));
    const total = (suffix: string) =>
      sizes.filter(({ name }) => name.endsWith(suffix)).reduce((sum, { bytes }) => sum + bytes, 0);
    expect(total(".js")).toBeGreaterThan(10_000);
    expect(total(".js")).toBeLessThan(SCRIPT_BYTES_MAX);
    expect(sizes.filter(({ name }) => name.endsWith(".wasm"))).toHaveLength(4);
    expect(total(".wasm")).toBeLessThan(WASM_BYTES_MAX);
  });
});
