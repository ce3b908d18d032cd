/**
 * `npm run origin`, whole: server, engine process and kernels on a software GPU, with a tiny model of random weights.
 * What it says is held against the CPU engine; what it survives is done to its processes.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ollama } from "ollama";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import { readGguf } from "../../src/model/gguf-reader.ts";
import { memorySource } from "../../src/model/source-memory.ts";
import { specFromGguf } from "../../src/model/spec-from-gguf.ts";
import { PLAIN_REQUEST } from "../../src/protocol/plain-request.ts";
import { createLanguageModel } from "../../src/serving/served-model.ts";
import { encodeChat, loadText } from "../../src/text/index.ts";
import { kernelModules } from "../support/kernel-modules.ts";
import { mergedBytes, tinyLoraBytes } from "../support/tiny-lora.ts";
import { tinyModel } from "../support/tiny-model.ts";
import { type RunningOrigin, runOrigin, startOrigin } from "./origin-server.ts";

const RUNNING_MAX = 4;
const WAITING_MAX = 12;
const KEY = "a-secret-of-the-test";

const folder = mkdtempSync(join(tmpdir(), "runnel-origin-"));
const path = join(folder, "tiny.gguf");
const base = await tinyModel({ name: "tiny" });
writeFileSync(path, base.bytes);
const loraPath = join(folder, "lora.gguf");
const lora = tinyLoraBytes(base, { seed: 2, type: "F16" });
writeFileSync(loraPath, lora);

let origin: RunningOrigin;
let client: OpenAI;

beforeAll(async () => {
  const limits = ["--max-running", RUNNING_MAX, "--max-waiting", WAITING_MAX, "--batch-tokens", 64].map(String);
  const models = ["--model", path, "--model", `second=${path}`, "--lora", `tuned=${loraPath}`];
  origin = await startOrigin([...models, ...limits, "--drain-seconds", "60"], { RUNNEL_API_KEY: KEY });
  client = new OpenAI({ baseURL: `${origin.url}/v1`, apiKey: KEY, maxRetries: 0 });
});

afterAll(async () => {
  origin?.signal("SIGKILL");
  await origin?.ended;
  rmSync(folder, { recursive: true, force: true });
});

const ask = <Fields extends object>(content: string, fields: Fields = {} as Fields) => ({
  model: "tiny",
  messages: [{ role: "user" as const, content }],
  temperature: 0,
  max_tokens: 12,
  ...fields,
});

async function say(content: string, fields: object = {}): Promise<string> {
  const { choices } = await client.chat.completions.create(ask(content, fields));
  return choices[0]!.message.content!;
}

/** @param label without the model's, which is `tiny` */
async function metric(name: string, label = ""): Promise<number> {
  const response = await fetch(`${origin.url}/metrics`, { headers: { authorization: `Bearer ${KEY}` } });
  expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
  const lines = (await response.text()).split("\n");
  for (const line of lines)
    expect(line).toMatch(/^$|^# (HELP|TYPE) \S+ .+$|^[a-zA-Z_:][\w:]*(\{[^}]*\})? -?[\d.e+-]+$/);
  const line = lines.find((each) => each.startsWith(`${name}{model_name="tiny"${label}}`));
  return line === undefined ? 0 : Number(line.split(" ").at(-1));
}

describe("as it starts", () => {
  test("it says which GPU it runs on, and that this one is none", () => {
    expect(origin.output()).toMatch(/^GPU: .*swiftshader.* \(software: this is the CPU\)$/im);
    expect(origin.output()).toMatch(
      /^tiny: context 256, weights 0\.3 MB, KV cache 0\.3 MB for 1024 tokens, loaded in /m,
    );
    expect(origin.readyLine).toMatch(/^runnel origin is ready: http:\/\/127\.0\.0\.1:\d+ {2}\(tiny, second; \d+ ms\)$/);
  });

  test("health is for everybody, the rest for those with the key", async () => {
    expect((await fetch(`${origin.url}/health`)).status).toBe(200);
    expect(await (await fetch(`${origin.url}/ready`)).json()).toMatchObject({
      status: "ready",
      models: [
        { id: "tiny", state: "ready", engine: "webgpu" },
        { id: "second", state: "ready" },
      ],
    });
    for (const route of ["/v1/models", "/metrics"]) {
      const refused = await fetch(`${origin.url}${route}`, { headers: { authorization: "Bearer wrong" } });
      expect([refused.status, ((await refused.json()) as { error: { code: string } }).error.code]).toEqual([
        401,
        "invalid_api_key",
      ]);
    }
    const { data } = await client.models.list();
    expect(data).toMatchObject([
      { id: "tiny", parent: null },
      { id: "second", parent: null },
      { id: "tuned", parent: "second", max_model_len: 256, meta: { quantization: "F16" } },
    ]);
  });

  test("clients of Ollama and TGI get the same answers, with the key", async () => {
    const headers = { authorization: `Bearer ${KEY}` };
    const ollama = new Ollama({ host: origin.url, headers });
    const messages = [{ role: "user", content: "Hello" }];
    const pieces: string[] = [];
    const options = { temperature: 0, num_predict: 12 };
    for await (const { message } of await ollama.chat({ model: "tiny:latest", messages, options, stream: true })) {
      pieces.push(message.content);
    }
    expect(pieces.join("")).toBe(await say("Hello"));
    expect((await ollama.ps()).models.map(({ name }) => name)).toContain("tiny:latest");
    expect(await (await fetch(origin.url, { headers })).text()).toBe("Ollama is running");
    const body = JSON.stringify({ inputs: "Hello", parameters: { max_new_tokens: 3 } });
    const json = { ...headers, "content-type": "application/json" };
    const generated = await fetch(origin.url, { method: "POST", headers: json, body });
    expect(await generated.json()).toEqual([{ generated_text: expect.any(String) }]);
    await expect(new Ollama({ host: origin.url }).list()).rejects.toMatchObject({ status_code: 401 });
  });

  test.runIf(process.platform === "linux")("without a GPU it does not, unless software was asked for", async () => {
    const { code, output } = await runOrigin(["--model", path, "--port", "0"], {
      VK_ICD_FILENAMES: join(folder, "no-driver.json"),
      VK_DRIVER_FILES: join(folder, "no-driver.json"),
    });
    expect([code, output]).toEqual([3, expect.stringMatching(/^origin: No GPU was found\. .*--software/m)]);
  });

  test("it says what is wrong with the command or the file", async () => {
    const { port } = new URL(origin.url);
    const [usage, file, adapter, taken] = await Promise.all([
      runOrigin(["--modle", path]),
      runOrigin(["--model", join(folder, "none.gguf"), "--software", "--port", "0"]),
      runOrigin(["--model", path, "--lora", `x=${path}`, "--software", "--port", "0"]),
      runOrigin(["--model", path, "--software", "--port", port]),
    ]);
    expect([usage.code, usage.output]).toEqual([2, expect.stringContaining("Unknown option '--modle'")]);
    expect([file.code, file.output]).toEqual([1, expect.stringMatching(/There is no file .*none\.gguf/)]);
    expect([adapter.code, adapter.output]).toEqual([1, expect.stringContaining("tiny.gguf is no LoRA adapter")]);
    expect([taken.code, taken.output]).toEqual([1, expect.stringContaining(`Port ${port} of 127.0.0.1 is in use`)]);
  });
});

describe("what it says", () => {
  test("is what the CPU engine says, word for word", async () => {
    const prompts = ["hello", "once upon a time", "What is a KV cache?"];
    const said = await Promise.all(prompts.map((content) => say(content)));
    expect(said).toEqual(await saidByCpu(prompts));
  });

  test("with an adapter is what the model says that it is merged into, also beside the base", async () => {
    const prompts = ["hello", "once upon a time", "What is a KV cache?"];
    const asked = prompts.flatMap((content) => ["tuned", "second"].map((model) => say(content, { model })));
    const [plain, tuned] = [await saidByCpu(prompts), await saidByCpu(prompts, merged)];
    expect(await Promise.all(asked)).toEqual(prompts.flatMap((_, i) => [tuned[i], plain[i]]));
    expect(tuned).not.toEqual(plain);
    const { model } = await client.chat.completions.create(ask("hello", { model: "tuned" }));
    expect(model).toBe("tuned");
  });

  test("does not depend on who else asks", async () => {
    const prompts = Array.from({ length: RUNNING_MAX + WAITING_MAX }, (_, i) => `number ${i}`);
    const fields = (i: number) => ({
      temperature: 1,
      seed: i,
      max_tokens: 4 + (i % 5),
      model: ["second", "tuned", "tiny", "tiny"][i % 4]!,
    });
    const together = await Promise.all(prompts.map((content, i) => say(content, fields(i))));
    const alone: string[] = [];
    for (const [i, content] of prompts.entries()) alone.push(await say(content, fields(i)));
    expect(together).toEqual(alone);
    expect(new Set(alone).size).toBeGreaterThan(prompts.length / 2);
  });
});

test("metrics count what clients were told", async () => {
  const before = await Promise.all(["prompt", "generation"].map((kind) => metric(`vllm:${kind}_tokens_total`)));
  const numFirst = await metric("vllm:time_to_first_token_seconds_count");
  const numLength = await metric("vllm:request_success_total", ',finished_reason="length"');
  const { usage } = await client.chat.completions.create(ask("count me", { max_tokens: 5, ignore_eos: true }));
  const after = await Promise.all(["prompt", "generation"].map((kind) => metric(`vllm:${kind}_tokens_total`)));
  expect(after.map((value, i) => value - before[i]!)).toEqual([usage!.prompt_tokens, usage!.completion_tokens]);
  expect(await metric("vllm:time_to_first_token_seconds_count")).toBe(numFirst + 1);
  expect(await metric("vllm:request_success_total", ',finished_reason="length"')).toBe(numLength + 1);
  const again = await client.chat.completions.create(ask("count me", { max_tokens: 5 }));
  const numCached = again.usage!.prompt_tokens_details!.cached_tokens!;
  expect(numCached).toBeGreaterThan(0);
  expect(await metric("vllm:prefix_cache_hits_total")).toBeGreaterThanOrEqual(numCached);
});

test("a full queue is a 429, and who leaves it gives everything back", async () => {
  const leave = new AbortController();
  const long = { max_tokens: 200, ignore_eos: true };
  const numAborted = await metric("vllm:request_success_total", ',finished_reason="abort"');
  const streams = Array.from({ length: RUNNING_MAX + WAITING_MAX }, (_, i) =>
    // Streamed or not, a client that goes away is noticed.
    client.chat.completions.create(ask(`long ${i}`, { ...long, stream: i % 2 === 0 }), { signal: leave.signal }),
  );
  const left = Promise.allSettled(streams);
  await expect.poll(() => metric("vllm:num_requests_waiting"), { timeout: 10_000 }).toBe(WAITING_MAX);
  const refused = await client.chat.completions.create(ask("one more")).catch((error) => error);
  expect(refused).toMatchObject({ status: 429, code: "server_overloaded" });
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(await metric("vllm:kv_cache_usage_perc")).toBeGreaterThan(0);
  leave.abort();
  await left;
  for (const name of ["num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"]) {
    await expect.poll(() => metric(`vllm:${name}`), { timeout: 10_000 }).toBe(0);
  }
  const numSteps = await metric("runnel_engine_steps_total");
  expect(await metric("vllm:request_success_total", ',finished_reason="abort"')).toBe(numAborted + streams.length);
  expect(await say("hello")).toBe((await saidByCpu(["hello"]))[0]);
  // Nobody computed on for those who had left.
  expect(await metric("runnel_engine_steps_total")).toBeLessThanOrEqual(numSteps + 12);
});

test.runIf(process.platform === "linux")(
  "an engine that is killed in mid-stream costs its readers a pause",
  async () => {
    const [pid] = origin.enginePids();
    const kinds = [{}, { temperature: 1, seed: 5 }, { temperature: 1, seed: 6, n: 2 }];
    const fields = { stream: true as const, max_tokens: 30, ignore_eos: true };
    const streamOf = async (kind: object, onChunk: (numChunks: number) => unknown = () => {}) => {
      const stream = await client.chat.completions.create(ask("to the end", { ...fields, ...kind }));
      const texts = ["", ""];
      let numChunks = 0;
      for await (const { choices } of stream) {
        for (const { index, delta } of choices) texts[index] += delta.content ?? "";
        await onChunk(++numChunks);
      }
      return texts;
    };
    const whole: string[][] = [];
    for (const kind of kinds) whole.push(await streamOf(kind));
    const meanwhile: unknown[] = [];
    const kill = async (numChunks: number) => {
      if (numChunks !== 3) return;
      process.kill(pid!, "SIGKILL");
      await expect.poll(async () => (await fetch(`${origin.url}/ready`)).status, { interval: 1 }).toBe(503);
      meanwhile.push(await client.chat.completions.create(ask("too early")).catch((cause) => cause));
      // The other model has an engine of its own.
      meanwhile.push(await say("hello", { model: "second" }));
    };
    const said = await Promise.all(kinds.map((kind, i) => streamOf(kind, i === 0 ? kill : () => {})));
    expect(said).toEqual(whole);
    const [early, other] = meanwhile as [{ status: number; headers: Headers }, string];
    expect(early).toMatchObject({ status: 503, code: "model_unavailable" });
    expect(Number(early.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
    expect(other).toBe((await saidByCpu(["hello"]))[0]);
    expect((await fetch(`${origin.url}/ready`)).status).toBe(200);
    expect(await say("hello")).toBe(other);
    expect(await metric("runnel_engine_failures_total")).toBe(1);
    expect(await metric("runnel_requests_resent_total")).toBe(3);
  },
);

test("SIGTERM lets running answers end, takes no others, and is a clean end", async () => {
  const pids = process.platform === "linux" ? origin.enginePids() : [];
  const fields = { stream: true as const, stream_options: { include_usage: true }, max_tokens: 40, ignore_eos: true };
  const stream = await client.chat.completions.create(ask("the last one", fields));
  let numChunks = 0;
  let numTokens = 0;
  let refused: unknown = null;
  for await (const chunk of stream) {
    if (++numChunks === 2) origin.signal("SIGTERM");
    if (numChunks === 8) refused = await client.chat.completions.create(ask("too late")).catch((cause) => cause);
    numTokens = chunk.usage?.completion_tokens ?? numTokens;
  }
  expect(numTokens).toBe(40);
  expect(refused).toMatchObject({ status: 503, code: "model_unavailable" });
  expect((refused as { headers: Headers }).headers.get("retry-after")).toBe("5");
  expect(await origin.ended).toBe(0);
  for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
});

const cpu = loadCpu(base.bytes);
const merged = mergedBytes(base, lora).then(loadCpu);

async function loadCpu(bytes: Uint8Array) {
  const file = await readGguf(memorySource(bytes, "tiny"));
  const spec = specFromGguf(file.header, "tiny");
  const { tokenizer, template } = loadText(file.header, { nowMs: () => 0 });
  const backend = await CpuBackend.load({ modules: kernelModules(), ...file, spec, options: { kvPrecision: "f16" } });
  return createLanguageModel({
    id: "tiny",
    backend,
    tokenizer,
    embedding: { width: 4, pooling: "last" },
    encodeChat: (messages, transcript) =>
      encodeChat(tokenizer, template, messages, { addGenerationPrompt: true, transcript }),
    clock: () => 0,
    random: () => 0.5,
    limits: { numWaitingMax: 8 },
    onCrash: (error) => {
      throw error;
    },
  });
}

async function saidByCpu(prompts: string[], loaded = cpu): Promise<string[]> {
  const model = await loaded;
  const texts: string[] = [];
  for (const content of prompts) {
    const generation = model.generate({
      ...PLAIN_REQUEST,
      requestId: "cpu",
      model: "tiny",
      prompts: [{ kind: "chat", messages: [{ role: "user", content }] }],
      maxTokens: 12,
    });
    let text = "";
    for (let event = await generation.next(); event !== null; event = await generation.next()) {
      if (event.type === "delta") text += event.text;
    }
    texts.push(text);
  }
  return texts;
}
