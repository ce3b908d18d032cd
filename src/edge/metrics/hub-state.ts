/** What the hub knows of all isolates together, and how reports change it. Plain data and pure functions. */
import type { GaugeSamples } from "./exposition.ts";
import { addMetrics, emptyMetrics, type MetricsData } from "./metrics-data.ts";

/** One object for all: it gets a few reports a second of each isolate, however many requests those serve. */
export const HUB_NAME = "hub";

/** What one model of one isolate holds. */
export interface EngineOccupancy {
  model: string;
  numRunning: number;
  numWaiting: number;
  numBlocks: number;
  numFreeBlocks: number;
}

export interface IsolateReport {
  isolate: string;
  /** Grows with every report of the isolate. */
  number: number;
  counted: MetricsData;
  engines: EngineOccupancy[];
}

interface KnownIsolate {
  number: number;
  atMs: number;
  engines: EngineOccupancy[];
}

export interface HubState {
  total: MetricsData;
  isolates: Record<string, KnownIsolate>;
}

/** An isolate says what it holds when a generation begins or ends; after this long without, it is gone or has nothing. */
export const OCCUPANCY_KEPT_MS = 120_000;
/** For the numbers of its reports: longer than any of them is sent again. */
const ISOLATE_KEPT_MS = 600_000;

export function emptyHub(): HubState {
  return { total: emptyMetrics(), isolates: {} };
}

export function applyReport(state: HubState, report: IsolateReport, nowMs: number): void {
  const { isolate, number, counted, engines } = report;
  const known = state.isolates[isolate];
  if (known === undefined || number > known.number) {
    addMetrics(state.total, counted);
    state.isolates[isolate] = { number, atMs: nowMs, engines };
  }
  for (const [id, { atMs }] of Object.entries(state.isolates)) {
    if (nowMs - atMs > ISOLATE_KEPT_MS) delete state.isolates[id];
  }
}

/** What the isolates of the last minutes hold together, by model. */
export function occupancies({ isolates }: HubState, nowMs: number): EngineOccupancy[] {
  const byModel = new Map<string, EngineOccupancy>();
  for (const { atMs, engines } of Object.values(isolates)) {
    if (nowMs - atMs > OCCUPANCY_KEPT_MS) continue;
    for (const { model, numRunning, numWaiting, numBlocks, numFreeBlocks } of engines) {
      const sum = byModel.get(model) ?? { model, numRunning: 0, numWaiting: 0, numBlocks: 0, numFreeBlocks: 0 };
      sum.numRunning += numRunning;
      sum.numWaiting += numWaiting;
      sum.numBlocks += numBlocks;
      sum.numFreeBlocks += numFreeBlocks;
      byModel.set(model, sum);
    }
  }
  return [...byModel.values()];
}

export function usageRatio({ numBlocks, numFreeBlocks }: EngineOccupancy): number {
  return numBlocks === 0 ? 0 : 1 - numFreeBlocks / numBlocks;
}

export function gaugeSamples(state: HubState, version: string, nowMs: number): GaugeSamples {
  const all = occupancies(state, nowMs);
  const samples = (read: (engine: EngineOccupancy) => number) =>
    all.map((engine) => ({ labels: [engine.model, "edge"], value: read(engine) }));
  return {
    edge_requests_running: samples(({ numRunning }) => numRunning),
    edge_requests_waiting: samples(({ numWaiting }) => numWaiting),
    edge_kv_cache_usage_ratio: samples(usageRatio),
    edge_build_info: [{ labels: [version], value: 1 }],
  };
}
