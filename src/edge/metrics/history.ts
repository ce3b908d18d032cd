/**
 * The last quarter of an hour, for the dashboard: what was counted in every ten seconds in which anything was, all models
 * together. Pure.
 */
import { METRICS } from "./catalog.ts";
import { type HubState, occupancies } from "./hub-state.ts";
import type { MetricsData } from "./metrics-data.ts";

export const HISTORY_MS = 15 * 60_000;
export const HISTORY_STEP_MS = 10_000;

/** What the engines of all isolates hold together. */
export interface Held {
  running: number;
  waiting: number;
  kvUsage: number;
}

/** Since the point before. Counts add up; of what the engines held, there is the most and the last. */
export interface HistoryPoint {
  /** Beginning of the ten seconds, Unix. */
  atMs: number;
  generationTokens: number;
  promptTokens: number;
  requests: number;
  /** Of them: answered with 5xx or 429, and generations that failed on the way. */
  errors: number;
  /** By `HISTORY_BOUNDS_S`, one more than there are bounds. */
  firstTokens: number[];
  most: Held;
  last: Held;
}

export const HISTORY_BOUNDS_S = METRICS.edge_time_to_first_token_seconds.bounds;

/** The history with a report in it; what is too old is left out. */
export function withReport(
  history: readonly HistoryPoint[],
  counted: MetricsData,
  state: HubState,
  nowMs: number,
): HistoryPoint[] {
  const atMs = nowMs - (nowMs % HISTORY_STEP_MS);
  const kept = history.filter((point) => point.atMs > nowMs - HISTORY_MS && point.atMs <= nowMs);
  const last = kept.at(-1)?.atMs === atMs ? kept.pop()! : emptyPoint(atMs);
  return [...kept, grown(last, counted, state, nowMs)];
}

function grown(point: HistoryPoint, counted: MetricsData, state: HubState, nowMs: number): HistoryPoint {
  const last = heldNow(state, nowMs);
  const { most } = point;
  const histograms = Object.values(counted.histograms.edge_time_to_first_token_seconds ?? {});
  return {
    atMs: point.atMs,
    generationTokens: point.generationTokens + total(counted.counters.edge_generation_tokens_total),
    promptTokens: point.promptTokens + total(counted.counters.edge_prompt_tokens_total),
    requests: point.requests + total(counted.counters.edge_requests_total),
    errors: point.errors + numErrors(counted),
    firstTokens: point.firstTokens.map((num, i) => num + histograms.reduce((all, { counts }) => all + counts[i]!, 0)),
    most: {
      running: Math.max(most.running, last.running),
      waiting: Math.max(most.waiting, last.waiting),
      kvUsage: Math.max(most.kvUsage, last.kvUsage),
    },
    last,
  };
}

function heldNow(state: HubState, nowMs: number): Held {
  const engines = occupancies(state, nowMs);
  const sum = (pick: (engine: (typeof engines)[number]) => number) => engines.reduce((all, one) => all + pick(one), 0);
  const numBlocks = sum((engine) => engine.numBlocks);
  return {
    running: sum(({ numRunning }) => numRunning),
    waiting: sum(({ numWaiting }) => numWaiting),
    kvUsage: numBlocks === 0 ? 0 : 1 - sum(({ numFreeBlocks }) => numFreeBlocks) / numBlocks,
  };
}

function emptyPoint(atMs: number): HistoryPoint {
  const firstTokens = new Array<number>(HISTORY_BOUNDS_S.length + 1).fill(0);
  const none = { running: 0, waiting: 0, kvUsage: 0 };
  return { atMs, firstTokens, generationTokens: 0, promptTokens: 0, requests: 0, errors: 0, most: none, last: none };
}

function numErrors({ counters }: MetricsData): number {
  const isError = (key: string) => /^(5\d\d|429)$/.test((JSON.parse(key) as string[])[2]!);
  const refused = Object.entries(counters.edge_requests_total ?? {}).filter(([key]) => isError(key));
  return refused.reduce((sum, [, num]) => sum + num, 0) + total(counters.edge_request_failed_total);
}

function total(series: Record<string, number> | undefined): number {
  return Object.values(series ?? {}).reduce((sum, num) => sum + num, 0);
}
