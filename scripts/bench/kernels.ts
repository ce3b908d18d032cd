/**
 * `npm run bench:kernels`: each weight type's matrix products by themselves, against what the machine's WebAssembly can
 * do at most. A product includes quantizing its activations, as in the engine; that is under 3 % of one token's work.
 */
import { parseArgs } from "node:util";
import { BACKEND_NAMES, KERNEL_SETS } from "../../src/backends/cpu/kernel-set.ts";
import { READABLE_TYPE_NAMES } from "../../src/model/ggml-types.ts";
import { MEASURING_OPTIONS, parseChoice, parseCount, runCommand, say, writeJson } from "./command.ts";
import { NO_VNNI_FLAGS } from "./engine-job.ts";
import { CEILINGS, type KernelJob, type KernelReport, TOKEN_COUNTS } from "./kernel-report.ts";
import { assertQuiet, describeMachine } from "./machine.ts";
import { runInNode } from "./node-host.ts";
import { type KernelEntry, type KernelResults, RESULT_VERSION } from "./results.ts";
import { type Summary, summarize } from "./statistics.ts";
import { summaryCells, textTable } from "./table.ts";

const HELP = `Usage: npm run bench:kernels -- [TYPE …] [options]

GMAC/s of products with 1, 4, 16 and 64 tokens for each weight type (or the named ones), with weights in the L2 cache
and from memory, and the ceilings of this machine: reading, and dot products in registers. In Node, one thread.

  --json FILE     write the results there as well
  --runs N        processes (default: 3)
  --repeats N     samples in each process, after one that is thrown away (default: 3)
  --sample-ms N   least duration of a sample (default: 100)
  --kernels SET   dot32, relaxed, simd128, scalar or auto = the best the host runs (default: auto)
  --no-vnni       tell V8 to do without AVX-VNNI
  --busy-ok       measure even where other work keeps the machine busy
  --help          this text`;

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      ...MEASURING_OPTIONS,
      runs: { type: "string", default: "3" },
      repeats: { type: "string", default: "3" },
      "sample-ms": { type: "string", default: "100" },
      kernels: { type: "string", default: "auto" },
      "no-vnni": { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const types = positionals.map((type) => parseChoice("TYPE", type, READABLE_TYPE_NAMES));
  const runs = parseCount("--runs", values.runs);
  const kernels = parseChoice("--kernels", values.kernels, [...KERNEL_SETS, "auto"] as const);
  const job: KernelJob = {
    kernelSets: kernels === "auto" ? KERNEL_SETS : [kernels],
    types,
    repeats: parseCount("--repeats", values.repeats),
    sampleMs: parseCount("--sample-ms", values["sample-ms"], 60_000),
  };
  assertQuiet(values["busy-ok"]);

  const reports: KernelReport[] = [];
  for (let run = 1; run <= runs; run++) {
    const startMs = performance.now();
    reports.push(await runInNode<KernelReport>("kernel-job.ts", job, values["no-vnni"] ? NO_VNNI_FLAGS : []));
    say(`run ${run} of ${runs}: ${Math.round((performance.now() - startMs) / 1000)} s`);
  }
  const results: KernelResults = {
    version: RESULT_VERSION,
    kind: "kernels",
    takenAt: new Date().toISOString(),
    machine: describeMachine(),
    settings: { runs, repeats: job.repeats, sampleMs: job.sampleMs },
    engine: BACKEND_NAMES[reports[0]!.kernelSet],
    vnniAllowed: !values["no-vnni"],
    ceilings: Object.fromEntries(
      Object.values(CEILINGS).map((name) => [name, summarize(reports.flatMap(({ ceilings }) => ceilings[name]!))]),
    ),
    results: Object.keys(reports[0]!.types).map((type) => entryOf(type, reports)),
  };
  console.log(report(results));
  if (values.json !== undefined) writeJson(values.json, results);
}

function entryOf(type: string, reports: readonly KernelReport[]): KernelEntry {
  const mine = reports.map(({ types }) => types[type]!);
  const byTokens = (of: "cached" | "streamed"): Record<string, Summary> =>
    Object.fromEntries(TOKEN_COUNTS.map((n) => [n, summarize(mine.flatMap((one) => one[of][n]!))]));
  return {
    type,
    bitsPerWeight: mine[0]!.bitsPerWeight,
    cached: byTokens("cached"),
    streamed: byTokens("streamed"),
    streamedReadGbPerS: summarize(mine.flatMap((one) => one.streamedReadGbPerS)),
  };
}

function report({ machine, engine, ceilings, results }: KernelResults): string {
  const limits = Object.entries(ceilings).map(([name, summary]) => [name, ...summaryCells(summary)]);
  const dotCeiling = Math.max(ceilings[CEILINGS.dotI32]!.median, ceilings[CEILINGS.dotI16]!.median);
  const readCeiling = ceilings[CEILINGS.read4]!.median;
  const percent = (share: number) => `${Math.round(100 * share)} %`;
  const rows = results.map(({ type, bitsPerWeight, cached, streamed, streamedReadGbPerS }) => [
    type,
    bitsPerWeight.toFixed(2),
    ...TOKEN_COUNTS.map((n) => String(cached[n]!.median)),
    percent(Math.max(...TOKEN_COUNTS.map((n) => cached[n]!.median)) / dotCeiling),
    ...TOKEN_COUNTS.map((n) => String(streamed[n]!.median)),
    percent(streamedReadGbPerS.median / readCeiling),
  ]);
  const head = [
    "GMAC/s",
    "bits",
    ...TOKEN_COUNTS.map((n) => `L2 × ${n}`),
    "of dots",
    ...TOKEN_COUNTS.map((n) => `RAM × ${n}`),
    "of reads",
  ];
  return [
    `${machine.cpu} (${machine.cpuFlags.join(" ")}), ${engine}, one thread, Node ${machine.node}; medians.`,
    textTable(["ceiling", "median", "quartiles"], limits),
    "",
    textTable(head, rows),
    `"of dots": the best L2 product against ${dotCeiling} GMAC/s; "of reads": weights drawn from RAM by one token ` +
      `against ${readCeiling} GB/s.`,
  ].join("\n");
}

await runCommand("bench:kernels", main);
