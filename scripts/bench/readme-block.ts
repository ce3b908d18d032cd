/**
 * The figures of the README, between two markers, made from the JSON results alone: a number in the README that was not
 * measured cannot be, and a test compares the two.
 */
import { UsageError } from "../model/errors.ts";
import { format } from "./bar-chart.ts";
import { runLabel } from "./benchmark-charts.ts";
import { machineLine } from "./benchmark-page.ts";
import { decodesOf } from "./gpu/gpu-charts.ts";
import type {
  EngineResults,
  GpuResults,
  MemoryResults,
  OriginResults,
  PeerResults,
  Results,
  ServerResults,
  SessionResults,
  SessionWaits,
} from "./results.ts";
import type { Summary } from "./statistics.ts";
import { markdownTable } from "./table.ts";

const START = "<!-- bench:start, by `npm run bench:plots` -->";
const END = "<!-- bench:end -->";

/** What of `npm run bench` is worth a reader's time; the page has everything. */
const ENGINE_COLUMNS = [
  ["prefill-256", "prefill 256"],
  ["decode-0", "decode"],
  ["decode-1024", "decode at 1,024"],
  ["batch-4", "4 together"],
  ["cold-decode", "cold decode"],
] as const;

/** @throws UsageError where the README has lost its markers */
export function withBlock(readme: string, results: readonly Results[]): string {
  const from = readme.indexOf(START);
  const to = readme.indexOf(END);
  if (from < 0 || to < from) throw new UsageError(`The README lacks the markers ${START} and ${END}.`);
  return `${readme.slice(0, from)}${START}\n\n${speedSection(results)}\n\n${readme.slice(to)}`;
}

function speedSection(results: readonly Results[]): string {
  return results.flatMap(partsOf).join("\n\n");
}

function partsOf(results: Results): string[] {
  if (results.kind === "peers") return peersPart(results);
  if (results.kind === "engine") return enginePart(results);
  if (results.kind === "memory") return [memoryPart(results)];
  if (results.kind === "server") return serverPart(results);
  if (results.kind === "sessions") return sessionsPart(results);
  if (results.kind === "origin") return originPart(results);
  if (results.kind === "gpu") return gpuPart(results);
  return [];
}

function source(results: Results, command: string): string {
  return `${machineLine(results)} \`${command}\`, [samples](docs/benchmarks/${results.kind}.json).`;
}

function peersPart(results: PeerResults): string[] {
  const { promptTokens, newTokens } = results;
  const rows = results.results.flatMap(({ model, engines, ratios }) =>
    engines.map(({ engine, prefill, decode }) => {
      const ratio = ratios.find(({ engine: ours, against }) => ours === "runnel" && against === engine);
      const speed = ({ median }: Summary, times: Summary | undefined) =>
        times === undefined ? format(median) : `${format(median)} (we: ${times.median.toFixed(2)} ×)`;
      return [model.name, engine, speed(prefill, ratio?.prefill), speed(decode, ratio?.decode)];
    }),
  );
  const head = ["tokens/s, one thread each", "engine", `prefill of ${promptTokens}`, `decode of ${newTokens}`];
  return [`Against llama.cpp on the same file: ${source(results, "npm run bench:peers")}`, markdownTable(head, rows)];
}

function enginePart(results: EngineResults): string[] {
  const rows = results.results.map(({ model, host, vnniAllowed, measures }) => [
    model.name,
    `${host === "node" ? "Node" : "workerd"}${vnniAllowed ? "" : ", no AVX-VNNI"}`,
    ...ENGINE_COLUMNS.map(([key]) => (measures[key] === undefined ? "–" : format(measures[key].median))),
    `${Math.round(100 * (measures["load-ratio"]?.median ?? 0))} %`,
  ]);
  const head = ["tokens/s, one thread", "in", ...ENGINE_COLUMNS.map(([, label]) => label), "load, of plain copy"];
  return [`The engine by itself: ${source(results, "npm run bench")}`, markdownTable(head, rows)];
}

function memoryPart(results: MemoryResults): string {
  const { model, settings, bytes, limitBytes } = results;
  const mb = (count = 0) => (count / 1e6).toFixed(1);
  const heap = Math.max(bytes.heapAfterLoad ?? 0, bytes.heapUnderTraffic ?? 0);
  return (
    `Memory of ${model.name} in one isolate: weights ${mb(bytes.weights)}, KV of ${settings.contextTokens} tokens in ` +
    `${settings.kvPrecision} ${mb(bytes.kv)}, scratch ${mb(bytes.scratch)}, JS heap with the tokenizer ${mb(heap)}, together ` +
    `${mb(bytes.total)} of ${mb(limitBytes)} MB. ${source(results, "npm run bench:memory")}`
  );
}

function serverPart(results: ServerResults): string[] {
  const { model, coldFirstTokenMs, loadMs, streams } = results;
  const cold = `${format(coldFirstTokenMs.median)} ms, ${format(loadMs.median)} of them loading`;
  const rows = [
    ["cold Worker to first token", cold],
    ...streams.map(({ numStreams, tokensPerS, ttftMs }) => [
      numStreams === 1 ? "one stream" : `${numStreams} streams together`,
      `${format(tokensPerS.median)} tokens/s, first token after ${format(ttftMs.median)} ms`,
    ]),
  ];
  return [
    `\`${model}\` over HTTP, streaming included: ${source(results, "npm run bench:server")}`,
    markdownTable(["", "median"], rows),
  ];
}

function waitRows({ restoredTtftMs, recomputedTtftMs, residentTtftMs, speedup }: SessionWaits): string[][] {
  const ms = ({ median }: Summary) => `${format(median)} ms`;
  return [
    ["first token of a next turn, computed again", ms(recomputedTtftMs)],
    ["restored from storage after a restart", `${ms(restoredTtftMs)}, ${speedup.median.toFixed(1)} × sooner`],
    ["still in memory", ms(residentTtftMs)],
  ];
}

function sessionsPart(results: SessionResults): string[] {
  const { model, promptTokens, larger, streams, togetherSpeedup } = results;
  const rows = [
    ...waitRows(results),
    ...streams.map(({ numSessions, tokensPerS }) => [
      numSessions === 1 ? "one session answers" : `${numSessions} sessions answer at once`,
      `${format(tokensPerS.median)} tokens/s${numSessions === 1 ? "" : `, ${togetherSpeedup.median.toFixed(2)} × as many`}`,
    ]),
  ];
  return [
    `Sessions of \`${model}\` with a prompt of ${format(promptTokens.median)} tokens, over HTTP: ` +
      source(results, "npm run bench:sessions"),
    markdownTable(["", "median"], rows),
    ...(larger === undefined ? [] : largerPart(larger)),
  ];
}

function largerPart(larger: SessionWaits & { isRandom: boolean }): string[] {
  const weights = larger.isRandom ? ", random weights" : "";
  return [
    `The same of \`${larger.model}\`${weights}, with a prompt of ${format(larger.promptTokens.median)} tokens:`,
    markdownTable(["", "median"], waitRows(larger)),
  ];
}

function originPart(results: OriginResults): string[] {
  const { model, label, settings, runs } = results;
  const rows = runs.map((run) => {
    const { outputTokensPerS, requestsPerS, ttftMs, tpotMs, failed } = run.metrics;
    const times = [ttftMs?.p50, ttftMs?.p99, tpotMs?.p50, tpotMs?.p99].map((ms) =>
      ms === undefined ? "–" : format(ms),
    );
    return [runLabel(run), format(outputTokensPerS), format(requestsPerS), ...times, String(failed)];
  });
  const head = ["requests", "output tokens/s", "requests/s", "TTFT p50, ms", "p99", "TPOT p50, ms", "p99", "failed"];
  return [
    `\`${model}\` at ${label} under load, ${settings.numPrompts} requests of ${settings.outputTokens} output tokens, by ` +
      `vLLM's definitions: ${source(results, "npm run bench:origin")}`,
    markdownTable(head, rows),
  ];
}

function gpuPart(results: GpuResults): string[] {
  const { sections, summary } = results;
  const adapter = sections.adapter?.values.adapter as { device: string; description: string } | undefined;
  const percent = (share: number | null) => (share === null ? "" : ` (${Math.round(100 * share)} %)`);
  const rows = decodesOf(results).flatMap(([model, decode]) =>
    decode.map(({ batch, contextTokens, tokensPerS, ofRead, stepMs }) => {
      return [model, String(batch), format(contextTokens), `${format(tokensPerS)}${percent(ofRead)}`, format(stepMs)];
    }),
  );
  const against = summary.againstTransformers.map(({ model, arm, times }) => `${model} ÷ \`${arm}\` ${format(times)}`);
  const comparison = against.length === 0 ? [] : [`64 requests at once against transformers: ${against.join(", ")}.`];
  const head = ["random weights", "sequences", "context", "decode, tokens/s (of the memory's speed)", "step, ms"];
  return [
    `The GPU engine on ${adapter?.device} ${adapter?.description}: ${source(results, "npm run bench:gpu")}`,
    markdownTable(head, rows),
    ...comparison,
  ];
}
