/**
 * Measures a running server: time to first token, tokens a second for one stream and for several at once, memory. With
 * --cold it starts servers of its own and measures from the first request to a Worker that has loaded nothing.
 * Prints one JSON document: the machine, the settings, medians and every sample.
 *
 * Numbers come from the client's clock, over HTTP, streaming included; that is what a user gets.
 */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const START = join(dirname(fileURLToPath(import.meta.url)), "start.mjs");

const HELP = `Usage: node scripts/measure-demo.mjs [--url URL] [--cold RUNS] [options]

  --url URL      the server to measure (default: http://127.0.0.1:8787)
  --cold RUNS    measure cold starts instead, each on a server of its own
  --runs N       samples of each measurement (default: 5)
  --tokens N     tokens to generate in each stream (default: 128)
  --streams LIST how many streams at once (default: 1,4)
  --model ID     (default: the server's default model)
  --help         this text`;

/** Different first words, so that no run finds another one's prompt in the prefix cache. */
const PROMPTS = ["What is prefill?", "Explain the KV cache.", "Why do batches help?", "Tell me about quantization."];

async function main() {
  const { values } = parseArgs({
    options: {
      url: { type: "string", default: "http://127.0.0.1:8787" },
      cold: { type: "string" },
      runs: { type: "string", default: "5" },
      tokens: { type: "string", default: "128" },
      streams: { type: "string", default: "1,4" },
      model: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const settings = {
    runs: Number(values.cold ?? values.runs),
    tokens: Number(values.tokens),
    model: values.model,
  };
  const machine = { cpu: cpus()[0]?.model ?? "unknown", cores: cpus().length, node: process.version };
  const result =
    values.cold === undefined
      ? await measureWarm(values.url, settings, values.streams.split(",").map(Number))
      : await measureCold(settings);
  console.log(JSON.stringify({ machine, settings, ...result }, null, 2));
}

async function measureWarm(url, settings, streamCounts) {
  const report = await (await fetch(`${url}/ready`)).json();
  settings.model ??= report.model;
  await streamChat(url, settings, 0); // Compiles the hot functions.
  const concurrency = {};
  for (const numStreams of streamCounts) {
    const samples = [];
    for (let i = 0; i < settings.runs; i++) samples.push(await measureStreams(url, settings, numStreams, i));
    concurrency[numStreams] = {
      tokensPerS: median(samples.map((sample) => sample.tokensPerS)),
      ttftMs: median(samples.map((sample) => sample.ttftMs)),
      samples,
    };
  }
  const { memory } = await (await fetch(`${url}/ready`)).json();
  return { report, memory, concurrency };
}

/** Tokens a second over all streams, from the first token anywhere to the last one. */
async function measureStreams(url, settings, numStreams, run) {
  const seeds = Array.from({ length: numStreams }, (_, i) => run * numStreams + i);
  const streams = await Promise.all(seeds.map((seed) => streamChat(url, settings, seed)));
  const firstMs = Math.min(...streams.map((stream) => stream.firstMs));
  const lastMs = Math.max(...streams.map((stream) => stream.lastMs));
  const numTokens = streams.reduce((sum, stream) => sum + stream.numTokens, 0);
  return {
    tokensPerS: round((1000 * (numTokens - numStreams)) / (lastMs - firstMs)),
    ttftMs: round(median(streams.map((stream) => stream.firstMs - stream.startMs))),
    numTokens,
  };
}

async function measureCold(settings) {
  const samples = [];
  for (let i = 0; i < settings.runs; i++) {
    const server = await startCold();
    try {
      settings.model ??= (await (await fetch(`${server.url}/v1/models`)).json()).data[0].id;
      const { startMs, firstMs } = await streamChat(server.url, settings, i);
      const { loadMs } = await (await fetch(`${server.url}/ready`)).json();
      samples.push({ firstTokenMs: round(firstMs - startMs), loadMs: round(loadMs) });
    } finally {
      await server.stop();
    }
  }
  return { coldFirstTokenMs: median(samples.map((sample) => sample.firstTokenMs)), samples };
}

/** A server that listens and has not loaded its model. */
async function startCold() {
  const port = await freePort();
  const persistTo = mkdtempSync(join(tmpdir(), "runnel-measure-"));
  const args = [START, "--port", String(port), "--persist-to", persistTo, "--no-warm"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  // Whoever ends this script ends the server with it.
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => child.kill(signal));
  const ended = new Promise((resolve) => child.once("exit", resolve));
  await new Promise((resolve, reject) => {
    child.stdout.on("data", (chunk) => String(chunk).includes("runnel is ready") && resolve());
    child.once("exit", (code) => reject(new Error(`The server ended with ${code} before it was ready.`)));
  });
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      child.kill("SIGTERM");
      await ended;
      rmSync(persistTo, { recursive: true, force: true });
    },
  };
}

async function streamChat(url, settings, seed) {
  const startMs = performance.now();
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: settings.model,
      messages: [{ role: "user", content: `${seed}: ${PROMPTS[seed % PROMPTS.length]}` }],
      max_tokens: settings.tokens,
      ignore_eos: true,
      seed,
      stream: true,
      stream_options: { include_usage: true },
    }),
  });
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  let firstMs = null;
  let lastMs = null;
  let numTokens = 0;
  for await (const data of sseData(response.body)) {
    if (data === "[DONE]") break;
    const chunk = JSON.parse(data);
    if (chunk.error !== undefined) throw new Error(chunk.error.message);
    if (chunk.usage) numTokens = chunk.usage.completion_tokens;
    if (!chunk.choices[0]?.delta.content) continue;
    lastMs = performance.now();
    firstMs ??= lastMs;
  }
  return { startMs, firstMs, lastMs, numTokens };
}

async function* sseData(body) {
  let text = "";
  for await (const piece of body.pipeThrough(new TextDecoderStream())) {
    const events = (text + piece).split("\n\n");
    text = events.pop();
    for (const event of events) if (event.startsWith("data: ")) yield event.slice(6);
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : round((sorted[middle - 1] + sorted[middle]) / 2);
}

function round(number) {
  return Math.round(number * 10) / 10;
}

main().catch((error) => {
  console.error(`measure-demo: ${error.message}`);
  process.exitCode = 1;
});
