/** A run as a table for people. */
import { textTable } from "../table.ts";
import type { Distribution, ServingMetrics } from "./serving-metrics.ts";

export function servingTable(metrics: ServingMetrics): string {
  const { completed, failed, durationS, inputTokens, cachedTokens, outputTokens, goodRequestsPerS } = metrics;
  const counts: [string, number | null, string][] = [
    ["completed", completed, "requests"],
    ["failed", failed, "requests"],
    ["duration", durationS, "s"],
    ["peak concurrency", metrics.peakConcurrency, "requests"],
    ["input", inputTokens, "tokens"],
    ["… from the prefix cache", cachedTokens, "tokens"],
    ["output", outputTokens, "tokens"],
    ["request throughput", metrics.requestsPerS, "requests/s"],
    ["goodput", goodRequestsPerS, "requests/s"],
    ["output throughput", metrics.outputTokensPerS, "tokens/s"],
    ["total throughput", metrics.totalTokensPerS, "tokens/s"],
  ];
  const rows = counts.flatMap(([label, value, unit]) => (value === null ? [] : [[label, String(value), unit]]));
  const times: [string, Distribution | null][] = [
    ["TTFT", metrics.ttftMs],
    ["TPOT", metrics.tpotMs],
    ["ITL", metrics.itlMs],
    ["E2EL", metrics.e2elMs],
    ["waiting at the client", metrics.queueMs],
  ];
  const timeRows = times.flatMap(([label, spread]) => {
    if (spread === null) return [];
    const { mean, std, p50, p90, p99 } = spread;
    return [[label, ...[mean, std, p50, p90, p99].map(String)]];
  });
  const tables = [textTable(["measure", "value", "unit"], rows)];
  if (timeRows.length > 0) tables.push(textTable(["ms", "mean", "std", "p50", "p90", "p99"], timeRows));
  if (metrics.errors.length > 0) {
    tables.push(metrics.errors.map(({ message, count }) => `failed ${count} ×: ${message}`).join("\n"));
  }
  return tables.join("\n\n");
}
