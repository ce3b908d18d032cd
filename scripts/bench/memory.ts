/**
 * `npm run bench:memory`: does a model fit an isolate of 128 MB? Runs the real Worker, lets it answer, and asks V8 through
 * the debugger what the JS heap holds; linear memory is the engine's own plan, which is exact.
 *
 * The Worker gets a budget in which the wanted context always fits, because the question is what it takes, not what the
 * Worker would grant. The total counts live objects at the worst moment: garbage can be collected, live objects cannot.
 */
import { parseArgs } from "node:util";
import { type CpuMemoryPlan, type KvPrecision, planCpuMemory } from "../../src/backends/cpu/memory-plan.ts";
import { ISOLATE_BUDGET_BYTES, tokenizerBytesOf } from "../../src/edge/budget.ts";
import { readGgufHeader } from "../../src/model/gguf-reader.ts";
import { specFromGguf } from "../../src/model/spec-from-gguf.ts";
import { CommandError, UsageError } from "../model/errors.ts";
import { fileSource } from "../model/file-source.ts";
import { type BenchServer, startColdServer } from "./bench-server.ts";
import { streamChat } from "./chat-client.ts";
import { parseCount, runCommand, say, writeJson } from "./command.ts";
import { type HeapUsage, Inspector } from "./inspector.ts";
import { describeMachine } from "./machine.ts";
import { type BenchModel, benchModels, randomModel } from "./models.ts";
import { type MemoryResults, RESULT_VERSION } from "./results.ts";
import { textTable } from "./table.ts";

const HELP = `Usage: npm run bench:memory -- [MODEL.gguf] [options]

Runs the Worker with the model, lets it answer several streams at once and says what its isolate holds, against 128 MB.
Without a model: random weights in the shape of SmolLM2-135M as Q4_0.

  --json FILE    write the results there as well
  --context N    tokens of KV (default: 2048)
  --kv NAME      precision of the KV cache, as the Worker's KV_PRECISION names it (default: i16)
  --streams N    answers at once (default: 4)
  --tokens N     tokens of each answer (default: 64)
  --help         this text

Exit code 1 also when the total is above 128 MB.`;

/** Above anything that could fit, so that the Worker plans the whole context. */
const GENEROUS_BUDGET_BYTES = 1_000_000_000;
const POLL_MS = 50;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "string" },
      context: { type: "string", default: "2048" },
      kv: { type: "string", default: "i16" },
      streams: { type: "string", default: "4" },
      tokens: { type: "string", default: "64" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  if (positionals.length > 1) throw new UsageError(`One model at a time, but got ${positionals.join(" and ")}.`);
  const contextTokens = parseCount("--context", values.context, 1_000_000);
  const numStreams = parseCount("--streams", values.streams, 64);
  const tokens = parseCount("--tokens", values.tokens);
  const [model] = benchModels(positionals, () => [randomModel("q4_0")]) as [BenchModel];

  const { plan, tokenizerBytes } = await planFor(model, contextTokens, values.kv);
  const variables = { MEMORY_BUDGET_BYTES: String(GENEROUS_BUDGET_BYTES), KV_PRECISION: values.kv };
  const server = await startColdServer({ modelPath: model.path, variables });
  let heaps: Heaps;
  try {
    heaps = await observe(server, plan, numStreams, tokens);
  } finally {
    await server.stop();
  }
  const bytes = {
    weights: plan.weightsBytes,
    kv: plan.kvBytes,
    scratch: plan.scratchBytes,
    heapBeforeLoad: liveBytes(heaps.beforeLoad),
    heapAfterLoad: liveBytes(heaps.afterLoad),
    heapUnderTraffic: liveBytes(heaps.underTraffic),
    heapPeakWithGarbage: heaps.peakBytes,
    tokenizerEstimate: tokenizerBytes,
    total: plan.totalBytes + Math.max(liveBytes(heaps.afterLoad), liveBytes(heaps.underTraffic)),
  };
  const results: MemoryResults = {
    version: RESULT_VERSION,
    kind: "memory",
    takenAt: new Date().toISOString(),
    machine: describeMachine(),
    settings: { contextTokens: plan.contextLength, kvPrecision: values.kv, numStreams, tokens },
    model: { name: model.name, sizeBytes: model.sizeBytes, isRandom: model.isRandom },
    limitBytes: ISOLATE_BUDGET_BYTES,
    bytes,
  };
  console.log(report(results));
  if (values.json !== undefined) writeJson(values.json, results);
  if (bytes.total > ISOLATE_BUDGET_BYTES) process.exitCode = 1;
}

/** Linear memory for exactly one context, as the Worker lays it out otherwise. */
async function planFor({ path }: BenchModel, contextTokens: number, kv: string) {
  const header = await readGgufHeader(fileSource(path));
  const spec = specFromGguf(header, path);
  const blockTokens = 16;
  const plan: CpuMemoryPlan = planCpuMemory(spec, {
    blockTokens,
    maxBatchSequences: 8,
    contextLength: contextTokens,
    numBlocks: Math.ceil(Math.min(contextTokens, spec.contextLength) / blockTokens),
    kvPrecision: kv as KvPrecision,
  });
  return { plan, tokenizerBytes: tokenizerBytesOf(header) };
}

interface Heaps {
  beforeLoad: HeapUsage;
  afterLoad: HeapUsage;
  underTraffic: HeapUsage;
  peakBytes: number;
}

async function observe(server: BenchServer, plan: CpuMemoryPlan, numStreams: number, tokens: number): Promise<Heaps> {
  const { url, inspectorPort } = server;
  await (await fetch(`${url}/v1/models`)).text();
  const inspector = await Inspector.connect(inspectorPort);
  try {
    const collected = async (): Promise<HeapUsage> => {
      await inspector.collectGarbage(async () => void (await (await fetch(`${url}/health`)).text()));
      return inspector.heapUsage();
    };
    const beforeLoad = await collected();
    const response = await fetch(`${url}/ready`);
    const ready = (await response.json()) as { memory?: { weightsBytes: number; scratchBytes: number } };
    if (!response.ok || ready.memory === undefined) {
      throw new CommandError(`The Worker did not load the model: ${JSON.stringify(ready)}`);
    }
    if (ready.memory.weightsBytes !== plan.weightsBytes) {
      const bytes = `${ready.memory.weightsBytes} bytes of weights, the plan here ${plan.weightsBytes}`;
      throw new CommandError(`The Worker has ${bytes}: they run different versions. Run \`npm run build:wasm\`.`);
    }
    say("The model is loaded.");
    const afterLoad = await collected();
    const traffic = Promise.all(Array.from({ length: numStreams }, (_, seed) => streamChat(server, seed, tokens)));
    const watched = await watch(inspector, collected, traffic);
    return { beforeLoad, afterLoad, ...watched };
  } finally {
    inspector.close();
  }
}

/** While the answers run: the most that was held, and the most of it that was live. */
async function watch(inspector: Inspector, collected: () => Promise<HeapUsage>, traffic: Promise<unknown>) {
  let isRunning = true;
  const end = () => {
    isRunning = false;
  };
  traffic.then(end, end);
  let peakBytes = 0;
  let underTraffic: HeapUsage | null = null;
  for (let i = 0; isRunning || underTraffic === null; i++) {
    const usage = await inspector.heapUsage();
    peakBytes = Math.max(peakBytes, liveBytes(usage));
    // Collecting all the time would hide the garbage.
    if (i % 10 === 5 || !isRunning) {
      const live = await collected();
      if (underTraffic === null || liveBytes(live) > liveBytes(underTraffic)) underTraffic = live;
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  await traffic;
  return { peakBytes, underTraffic };
}

/** JS objects and what the runtime keeps for them. Backing stores hold linear memory too, which the plan counts. */
function liveBytes({ usedSize, embedderHeapUsedSize }: HeapUsage): number {
  return usedSize + embedderHeapUsedSize;
}

function report({ model, settings, bytes, limitBytes }: MemoryResults): string {
  const mb = (count: number) => (count / 1e6).toFixed(1);
  const { weights = 0, kv = 0, scratch = 0, total = 0 } = bytes;
  const { heapBeforeLoad = 0, heapAfterLoad = 0, heapUnderTraffic = 0, heapPeakWithGarbage = 0 } = bytes;
  const rows = [
    ["weights", mb(weights)],
    [`KV of ${settings.contextTokens} tokens, ${settings.kvPrecision}`, mb(kv)],
    ["scratch, activations and logits", mb(scratch)],
    ["JS heap after load, live", mb(heapAfterLoad)],
    ["  of that before load", mb(heapBeforeLoad)],
    [
      `  of that tokenizer and header (estimated ${mb(bytes.tokenizerEstimate ?? 0)})`,
      mb(heapAfterLoad - heapBeforeLoad),
    ],
    [`JS heap under ${settings.numStreams} streams, live`, mb(heapUnderTraffic)],
    [`JS heap under ${settings.numStreams} streams, garbage included`, mb(heapPeakWithGarbage)],
    ["total: linear memory and the larger live heap", mb(total)],
  ];
  const verdict = total <= limitBytes ? "fits" : "does NOT fit";
  return `${textTable([model.name, "MB"], rows)}\n${mb(total)} MB ${verdict} ${mb(limitBytes)} MB.`;
}

await runCommand("bench:memory", main);
