/**
 * The numbers of a run, as vLLM's `benchmarks/serve.py` defines them; `DEFINITIONS` says them in words. Everything is over
 * completed requests; what failed is counted and in nothing else, but its time is in the run's duration.
 */
import { quantile, round } from "../statistics.ts";
import type { ServiceLevels } from "./goodput.ts";
import type { RequestOutcome } from "./outcome.ts";
import type { LoadResult } from "./run-load.ts";

export const DEFINITIONS = `Times are the client's, from sending a request (not from its turn to be sent: waiting for --max-concurrency is apart).
  TTFT   until the first token's chunk            E2EL   until the last token's chunk
  TPOT   (E2EL - TTFT) / (output tokens - 1), of each request with more than one token
  ITL    gap between two chunks, of all requests together; a server that puts several tokens into a chunk has fewer gaps
  throughput   completed requests, their output tokens, their prompt and output tokens, by the run's whole duration
  goodput      completed requests that are within all bounds of --goodput, by the same duration; TPOT of one token is 0
  peak concurrency   most requests in [sending, last chunk) at one time
Tokens are the server's \`usage\`; where it sends none, chunks are counted. These are the definitions of vLLM's serve.py.`;

/** Of all samples; population standard deviation, quantiles by linear interpolation. */
export interface Distribution {
  mean: number;
  std: number;
  p50: number;
  p90: number;
  p99: number;
}

export interface ServingMetrics {
  completed: number;
  failed: number;
  durationS: number;
  inputTokens: number;
  /** Prompt tokens that came from the server's prefix cache; null where it does not say. */
  cachedTokens: number | null;
  outputTokens: number;
  requestsPerS: number;
  outputTokensPerS: number;
  totalTokensPerS: number;
  /** null = no bounds were asked for. */
  goodRequestsPerS: number | null;
  peakConcurrency: number;
  /** null where there is no sample. */
  ttftMs: Distribution | null;
  tpotMs: Distribution | null;
  itlMs: Distribution | null;
  e2elMs: Distribution | null;
  queueMs: Distribution | null;
  /** What failed, most frequent first. */
  errors: { message: string; count: number }[];
}

export function servingMetrics(
  { outcomes, durationMs }: LoadResult,
  levels: ServiceLevels | null = null,
): ServingMetrics {
  const done = outcomes.filter(({ error }) => error === null);
  const durationS = durationMs / 1000;
  const sum = (of: (outcome: RequestOutcome) => number) => done.reduce((total, outcome) => total + of(outcome), 0);
  const perS = (count: number) => round(count / durationS);
  const inputTokens = sum(({ promptTokens }) => promptTokens);
  const outputTokens = sum((outcome) => outcome.outputTokens);
  const saysCached = done.some(({ cachedTokens }) => cachedTokens !== null);
  return {
    completed: done.length,
    failed: outcomes.length - done.length,
    durationS: round(durationS),
    inputTokens,
    cachedTokens: saysCached ? sum(({ cachedTokens }) => cachedTokens ?? 0) : null,
    outputTokens,
    requestsPerS: perS(done.length),
    outputTokensPerS: perS(outputTokens),
    totalTokensPerS: perS(inputTokens + outputTokens),
    goodRequestsPerS: levels === null ? null : perS(done.filter((outcome) => isGood(outcome, levels)).length),
    peakConcurrency: peakConcurrency(done),
    ttftMs: distribution(done.map(({ ttftMs }) => ttftMs)),
    tpotMs: distribution(done.filter((outcome) => outcome.outputTokens > 1).map(tpotMs)),
    itlMs: distribution(done.flatMap(({ itlMs }) => itlMs)),
    e2elMs: distribution(done.map(({ latencyMs }) => latencyMs)),
    queueMs: distribution(done.map(({ queueMs }) => queueMs)),
    errors: countedErrors(outcomes),
  };
}

/** 0 where there is nothing after the first token. */
export function tpotMs({ latencyMs, ttftMs, outputTokens }: RequestOutcome): number {
  return outputTokens > 1 ? (latencyMs - ttftMs) / (outputTokens - 1) : 0;
}

function isGood(outcome: RequestOutcome, { ttft, tpot, e2el }: ServiceLevels): boolean {
  const within = (value: number, bound: number | undefined) => bound === undefined || value <= bound;
  return within(outcome.ttftMs, ttft) && within(tpotMs(outcome), tpot) && within(outcome.latencyMs, e2el);
}

/** Sweeps a line over the ends of all intervals; who leaves at a time leaves before who comes. */
function peakConcurrency(done: readonly RequestOutcome[]): number {
  const changes = done.flatMap(({ startMs, latencyMs }) => [
    { atMs: startMs, change: 1 },
    { atMs: startMs + latencyMs, change: -1 },
  ]);
  changes.sort((a, b) => a.atMs - b.atMs || a.change - b.change);
  let peak = 0;
  let current = 0;
  for (const { change } of changes) {
    current += change;
    peak = Math.max(peak, current);
  }
  return peak;
}

function distribution(samples: readonly number[]): Distribution | null {
  if (samples.length === 0) return null;
  const sorted = [...samples].sort((a, b) => a - b);
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
  const variance = samples.reduce((sum, sample) => sum + (sample - mean) ** 2, 0) / samples.length;
  const [p50, p90, p99] = [0.5, 0.9, 0.99].map((share) => round(quantile(sorted, share))) as [number, number, number];
  return { mean: round(mean), std: round(Math.sqrt(variance)), p50, p90, p99 };
}

function countedErrors(outcomes: readonly RequestOutcome[]): ServingMetrics["errors"] {
  const counts = new Map<string, number>();
  for (const { error } of outcomes) if (error !== null) counts.set(error, (counts.get(error) ?? 0) + 1);
  return [...counts].map(([message, count]) => ({ message, count })).sort((a, b) => b.count - a.count);
}
