/**
 * `npm run bench`: how fast the engine is on this machine. Every run is a process of its own, and runs go round all models
 * and hosts (A B C A B C …), so that a machine that slows down slows all of them down.
 */
import { parseArgs } from "node:util";
import { KERNEL_SETS, type KernelSet } from "../../src/backends/cpu/kernel-set.ts";
import { MEASURING_OPTIONS, parseChoice, parseCount, runCommand, say, writeJson } from "./command.ts";
import { type EngineJob, type EngineReport, HOSTS, type HostName, NO_VNNI_FLAGS } from "./engine-job.ts";
import { assertQuiet, describeMachine } from "./machine.ts";
import { MEASURES } from "./measures.ts";
import { type BenchModel, benchModels, demoModel, RANDOM_MIXES, randomModel } from "./models.ts";
import { runInNode } from "./node-host.ts";
import { type EngineEntry, type EngineResults, RESULT_VERSION } from "./results.ts";
import { type Summary, summarize } from "./statistics.ts";
import { summaryRow, textTable } from "./table.ts";
import { runInWorkerd } from "./workerd-host.ts";

const HELP = `Usage: npm run bench -- [MODEL.gguf …] [options]

Measures load, prefill, decode, batched and sampled decode and memory of the engine, in Node and in workerd, one thread.
Without a model: the demo, and random weights in the shape of SmolLM2-135M as Q4_0, Q8_0 and Q4_K_M.

  --json FILE     write the results there as well
  --runs N        processes for each model and host (default: 5)
  --repeats N     samples of each measure in a process (default: 3)
  --sample-ms N   least duration of a sample (default: 300)
  --host NAME     node, workerd or both (default: both)
  --kernels SET   dot32, relaxed, simd128, scalar or auto = the best the host runs (default: auto)
  --no-vnni       measure everything a second time with V8 told to do without AVX-VNNI
  --busy-ok       measure even where other work keeps the machine busy
  --help          this text`;

interface Variant {
  model: BenchModel;
  host: HostName;
  vnniAllowed: boolean;
  reports: EngineReport[];
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...MEASURING_OPTIONS,
      runs: { type: "string", default: "5" },
      repeats: { type: "string", default: "3" },
      "sample-ms": { type: "string", default: "300" },
      host: { type: "string", default: "both" },
      kernels: { type: "string", default: "auto" },
      "no-vnni": { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const runs = parseCount("--runs", values.runs);
  const settings = {
    repeats: parseCount("--repeats", values.repeats),
    sampleMs: parseCount("--sample-ms", values["sample-ms"], 60_000),
  };
  const host = parseChoice("--host", values.host, [...HOSTS, "both"] as const);
  const kernels = parseChoice("--kernels", values.kernels, [...KERNEL_SETS, "auto"] as const);
  const models = benchModels(positionals, () => [demoModel(), ...RANDOM_MIXES.map((mix) => randomModel(mix))]);
  assertQuiet(values["busy-ok"]);

  const kernelSets = kernels === "auto" ? KERNEL_SETS : [kernels];
  const variants: Variant[] = models.flatMap((model) =>
    (host === "both" ? HOSTS : [host]).flatMap((name) =>
      (values["no-vnni"] ? [true, false] : [true]).map((vnniAllowed) => ({
        model,
        host: name,
        vnniAllowed,
        reports: [],
      })),
    ),
  );
  for (let run = 1; run <= runs; run++) {
    for (const variant of variants) {
      const startMs = performance.now();
      variant.reports.push(await measure(variant, kernelSets, settings));
      const tookS = Math.round((performance.now() - startMs) / 1000);
      say(`run ${run} of ${runs}: ${labelOf(variant)}, ${tookS} s`);
    }
  }
  const results: EngineResults = {
    version: RESULT_VERSION,
    kind: "engine",
    takenAt: new Date().toISOString(),
    machine: describeMachine(),
    settings: { runs, ...settings, kernels },
    results: variants.map(entryOf),
  };
  console.log(report(results));
  if (values.json !== undefined) writeJson(values.json, results);
}

function measure(
  { model, host, vnniAllowed }: Variant,
  kernelSets: readonly KernelSet[],
  settings: EngineJob["settings"],
): Promise<EngineReport> {
  const v8Flags = vnniAllowed ? [] : NO_VNNI_FLAGS;
  const job: EngineJob = { modelPath: model.path, kernelSets, v8Flags, settings };
  return host === "node" ? runInNode<EngineReport>("node-job.ts", job, v8Flags) : runInWorkerd(job);
}

function entryOf({ model, host, vnniAllowed, reports }: Variant): EngineEntry {
  const [first] = reports as [EngineReport];
  const peaks = reports.map(({ peakProcessBytes }) => peakProcessBytes).filter((bytes) => bytes !== null);
  const measures: Record<string, Summary> = {};
  for (const key of Object.keys(MEASURES)) {
    const samples = reports.flatMap((report) => report.samples[key] ?? []);
    if (samples.length > 0) measures[key] = summarize(samples);
  }
  return {
    model: { name: model.name, sizeBytes: model.sizeBytes, isRandom: model.isRandom },
    host,
    vnniAllowed,
    engine: first.engine,
    memory: { ...first.memory, peakProcessBytes: peaks.length === 0 ? null : Math.max(...peaks) },
    measures,
  };
}

function labelOf({ model, host, vnniAllowed }: Pick<EngineEntry, "model" | "host" | "vnniAllowed">): string {
  return `${model.name} in ${host}${vnniAllowed ? "" : " without AVX-VNNI"}`;
}

function report({ machine, results }: EngineResults): string {
  const flags = machine.cpuFlags.join(" ") || "unknown flags";
  const title =
    `${machine.cpu} (${flags}), ${machine.cores} cores, one thread; Node ${machine.node} (V8 ${machine.v8}), workerd ` +
    `${machine.workerd}. Medians, quartiles in brackets.`;
  const tables = results.map((entry) => {
    const rows = Object.entries(entry.measures).map(([key, summary]) => {
      const { label, unit } = MEASURES[key]!;
      return summaryRow(label, summary, unit);
    });
    const head = `\n${labelOf(entry)}: ${entry.engine}\n${memoryLine(entry)}`;
    return `${head}\n${textTable(["measure", "median", "quartiles", "unit"], rows)}`;
  });
  return [title, ...tables].join("\n");
}

function memoryLine({ memory }: EngineEntry): string {
  const mb = (bytes: number) => (bytes / 1e6).toFixed(1);
  const peak = memory.peakProcessBytes === null ? "" : `; peak of the process ${mb(memory.peakProcessBytes)} MB`;
  return (
    `linear memory ${mb(memory.totalBytes)} MB: weights ${mb(memory.weightsBytes)}, KV ${mb(memory.kvBytes)}, scratch ` +
    `${mb(memory.scratchBytes)}${peak}`
  );
}

await runCommand("bench", main);
