/** Which charts are drawn from which results. */
import type { Chart } from "./bar-chart.ts";
import { gpuCharts } from "./gpu/gpu-charts.ts";
import { CEILINGS } from "./kernel-report.ts";
import { MEASURES } from "./measures.ts";
import type {
  EngineEntry,
  EngineResults,
  KernelResults,
  MemoryResults,
  OriginResults,
  OriginRun,
  PeerResults,
  Results,
  ServerResults,
  SessionResults,
  SessionWaits,
} from "./results.ts";
import type { Summary } from "./statistics.ts";

const PREFILL_KEYS = Object.keys(MEASURES).filter((key) => key.includes("prefill"));
const DECODE_KEYS = Object.keys(MEASURES).filter((key) => key.includes("decode") || key.startsWith("batch"));

export function chartsOf(results: Results): Chart[] {
  if (results.kind === "engine") return engineCharts(results);
  if (results.kind === "peers") return peerCharts(results);
  if (results.kind === "kernels") return kernelCharts(results);
  if (results.kind === "memory") return [memoryChart(results)];
  if (results.kind === "sessions") return sessionCharts(results);
  if (results.kind === "origin") return originCharts(results);
  if (results.kind === "gpu") return gpuCharts(results);
  return serverCharts(results);
}

function bar(series: number, { median, q1, q3 }: Summary) {
  return { series, value: median, q1, q3 };
}

function engineCharts({ results }: EngineResults): Chart[] {
  const models = [...new Set(results.map(({ model }) => model.name))];
  return models.flatMap((name) => {
    const entries = results.filter(({ model }) => model.name === name);
    const series = entries.map(seriesName);
    const draw = (title: string, keys: readonly string[]): Chart => ({
      title: `${name}: ${title}`,
      unit: "tokens/s",
      series,
      groups: keys
        .filter((key) => entries.some(({ measures }) => measures[key] !== undefined))
        .map((key) => ({
          label: shortLabel(key),
          bars: entries.flatMap(({ measures }, i) => (measures[key] === undefined ? [] : [bar(i, measures[key])])),
        })),
    });
    return [draw("decode", DECODE_KEYS), draw("prefill", PREFILL_KEYS)];
  });
}

function seriesName({ host, vnniAllowed }: EngineEntry): string {
  return `${host === "node" ? "Node" : "workerd"}${vnniAllowed ? "" : " without AVX-VNNI"}`;
}

/** "batch-4" → "4 together": the whole label of a measure does not fit beside a bar. */
function shortLabel(key: string): string {
  const [what, n] = key.split("-") as [string, string];
  if (what === "cold") return n === "prefill" ? "cold, 16 tokens" : "cold, first 16";
  if (what === "batch") return `${n} together`;
  if (n === "sampled") return "sampled, context 256";
  return what === "prefill" ? `${n} tokens` : `context ${n}`;
}

function peerCharts({ results, promptTokens, newTokens }: PeerResults): Chart[] {
  const draw = (title: string, of: "prefill" | "decode"): Chart => ({
    title,
    unit: "tokens/s",
    series: results[0]?.engines.map(({ engine }) => engine) ?? [],
    groups: results.map(({ model, engines }) => ({
      label: model.name,
      bars: engines.map((one, i) => bar(i, one[of])),
    })),
  });
  return [
    draw(`Decode of ${newTokens} tokens, one thread each`, "decode"),
    draw(`Prefill of ${promptTokens} tokens, one thread each`, "prefill"),
  ];
}

function kernelCharts({ results, ceilings }: KernelResults): Chart[] {
  const dots = Math.max(ceilings[CEILINGS.dotI16]!.median, ceilings[CEILINGS.dotI32]!.median);
  return [
    {
      title: "Matrix products, weights in the L2 cache",
      unit: "GMAC/s",
      series: ["1 token", "4 tokens", "64 tokens"],
      groups: results.map(({ type, cached }) => ({
        label: type,
        bars: ["1", "4", "64"].map((tokens, i) => bar(i, cached[tokens]!)),
      })),
      lines: [{ label: "dot products in registers", value: dots }],
    },
    {
      title: "Weights drawn from memory by one token",
      unit: "GB/s",
      series: ["1 token"],
      groups: results.map(({ type, streamedReadGbPerS }) => ({ label: type, bars: [bar(0, streamedReadGbPerS)] })),
      lines: [{ label: "plain reading, 4 streams", value: ceilings[CEILINGS.read4]!.median }],
    },
  ];
}

function memoryChart({ model, settings, bytes, limitBytes }: MemoryResults): Chart {
  const heap = Math.max(bytes.heapAfterLoad ?? 0, bytes.heapUnderTraffic ?? 0);
  const parts: [string, number][] = [
    ["weights", bytes.weights ?? 0],
    [`KV, ${settings.contextTokens} tokens`, bytes.kv ?? 0],
    ["scratch", bytes.scratch ?? 0],
    ["JS heap, live", heap],
    ["total", bytes.total ?? 0],
  ];
  return {
    title: `${model.name} in one isolate, KV in ${settings.kvPrecision}`,
    unit: "MB",
    series: ["bytes held"],
    groups: parts.map(([label, value]) => ({ label, bars: [{ series: 0, value: value / 1e6 }] })),
    lines: [{ label: "an isolate's limit", value: limitBytes / 1e6 }],
  };
}

function serverCharts({ model, coldFirstTokenMs, streams }: ServerResults): Chart[] {
  const label = (numStreams: number) => (numStreams === 1 ? "one stream" : `${numStreams} streams`);
  return [
    {
      title: `${model}, tokens of all streams`,
      unit: "tokens/s",
      series: ["over HTTP"],
      groups: streams.map(({ numStreams, tokensPerS }) => ({ label: label(numStreams), bars: [bar(0, tokensPerS)] })),
    },
    {
      title: `${model}, time to the first token`,
      unit: "ms",
      series: ["over HTTP"],
      groups: [
        { label: "cold Worker", bars: [bar(0, coldFirstTokenMs)] },
        ...streams.map(({ numStreams, ttftMs }) => ({ label: label(numStreams), bars: [bar(0, ttftMs)] })),
      ],
    },
  ];
}

function waitChart({ model, promptTokens, recomputedTtftMs, restoredTtftMs, residentTtftMs }: SessionWaits): Chart {
  const waits: [string, Summary][] = [
    ["computed again", recomputedTtftMs],
    ["restored", restoredTtftMs],
    ["still in memory", residentTtftMs],
  ];
  return {
    title: `${model}, first token of a next turn, prompt of ${promptTokens.median} tokens`,
    unit: "ms",
    series: ["over HTTP"],
    groups: waits.map(([label, summary]) => ({ label, bars: [bar(0, summary)] })),
  };
}

function sessionCharts(results: SessionResults): Chart[] {
  const { model, larger, streams } = results;
  return [
    waitChart(results),
    ...(larger === undefined ? [] : [waitChart(larger)]),
    {
      title: `${model}, tokens of all sessions that answer at once`,
      unit: "tokens/s",
      series: ["over HTTP"],
      groups: streams.map(({ numSessions, tokensPerS }) => ({
        label: numSessions === 1 ? "one session" : `${numSessions} sessions`,
        bars: [bar(0, tokensPerS)],
      })),
    },
  ];
}

function originCharts({ model, label, runs }: OriginResults): Chart[] {
  const times = (title: string, of: "ttftMs" | "tpotMs"): Chart => ({
    title: `${model} at ${label}, ${title}`,
    unit: "ms",
    series: ["median", "99 % are below"],
    groups: runs.map((run) => {
      const spread = run.metrics[of];
      const bars = spread === null ? [] : [spread.p50, spread.p99].map((value, series) => ({ series, value }));
      return { label: runLabel(run), bars };
    }),
  });
  return [
    {
      title: `${model} at ${label}, output of all requests`,
      unit: "tokens/s",
      series: ["over HTTP"],
      groups: runs.map((run) => ({
        label: runLabel(run),
        bars: [{ series: 0, value: run.metrics.outputTokensPerS }],
      })),
    },
    times("time to the first token", "ttftMs"),
    times("time per output token after it", "tpotMs"),
  ];
}

export function runLabel({ ratePerS, maxConcurrency }: OriginRun): string {
  const rate = ratePerS === null ? null : `${ratePerS}/s`;
  const bound = maxConcurrency === null ? null : `${maxConcurrency} at once`;
  return [rate, bound].filter((part) => part !== null).join(", ") || "all at once";
}
