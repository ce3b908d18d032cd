/** What the hub makes of reports: each counted once, in whatever order, and gauges of who has spoken lately. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { HISTORY_MS, HISTORY_STEP_MS, type HistoryPoint, withReport } from "../../../src/edge/metrics/history.ts";
import {
  applyReport,
  emptyHub,
  gaugeSamples,
  type IsolateReport,
  OCCUPANCY_KEPT_MS,
} from "../../../src/edge/metrics/hub-state.ts";
import { count, emptyMetrics, observe } from "../../../src/edge/metrics/metrics-data.ts";

const NOW_MS = 1_700_000_000_000;

function report(
  isolate: string,
  number: number,
  numTokens: number,
  fields: Partial<IsolateReport> = {},
): IsolateReport {
  const counted = emptyMetrics();
  count(counted, "edge_generation_tokens_total", ["m", "edge"], numTokens);
  observe(counted, "edge_time_to_first_token_seconds", ["m", "edge"], 0.07);
  return { isolate, number, counted, engines: [], ...fields };
}

const engine = (numRunning: number, numFreeBlocks: number) => ({
  model: "m",
  numRunning,
  numWaiting: 1,
  numBlocks: 100,
  numFreeBlocks,
});

const tokens = (state: ReturnType<typeof emptyHub>) =>
  Object.values(state.total.counters.edge_generation_tokens_total ?? {})[0];

test("reports of several isolates, each sent up to three times, count once", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ isolate: fc.constantFrom("a", "b"), copies: fc.integer({ min: 1, max: 3 }) })),
      (all) => {
        const state = emptyHub();
        const numbers: Record<string, number> = {};
        for (const { isolate, copies } of all) {
          const number = (numbers[isolate] ?? 0) + 1;
          numbers[isolate] = number;
          for (let i = 0; i < copies; i++) applyReport(state, report(isolate, number, 5), NOW_MS);
        }
        expect(tokens(state) ?? 0).toBe(5 * all.length);
      },
    ),
  );
});

test("gauges add up over isolates, and of one that fell silent nothing is left", () => {
  const state = emptyHub();
  applyReport(state, report("a", 1, 0, { engines: [engine(2, 50)] }), NOW_MS);
  applyReport(state, report("b", 1, 0, { engines: [engine(3, 100)] }), NOW_MS + 60_000);
  const read = (name: "edge_requests_running" | "edge_kv_cache_usage_ratio", nowMs: number) =>
    gaugeSamples(state, "1", nowMs)[name]!.map(({ value }) => value);
  expect(read("edge_requests_running", NOW_MS + 60_000)).toEqual([5]);
  expect(read("edge_kv_cache_usage_ratio", NOW_MS + 60_000)).toEqual([0.25]);
  expect(read("edge_requests_running", NOW_MS + OCCUPANCY_KEPT_MS + 1)).toEqual([3]);
  expect(read("edge_requests_running", NOW_MS + 60_001 + OCCUPANCY_KEPT_MS)).toEqual([]);
});

test("isolates that are gone are forgotten, and what they counted is not", () => {
  const state = emptyHub();
  for (let i = 0; i < 100; i++) applyReport(state, report(`isolate ${i}`, 1, 1), NOW_MS + i * 60_000);
  expect(Object.keys(state.isolates).length).toBeLessThan(15);
  expect(tokens(state)).toBe(100);
});

test("the history has a point for each step in which something was told, and a quarter of an hour of them", () => {
  let history: HistoryPoint[] = [];
  const state = emptyHub();
  for (let second = 0; second < 2000; second++) {
    const nowMs = NOW_MS + second * 1000;
    const one = report("a", second + 1, 3, { engines: [engine(second % 10, 100)] });
    applyReport(state, one, nowMs);
    history = withReport(history, one.counted, state, nowMs);
  }
  expect(history.length).toBeLessThanOrEqual(HISTORY_MS / HISTORY_STEP_MS + 1);
  expect(history.slice(1, -1).every((point) => point.generationTokens === 30)).toBe(true);
  expect(history.at(-2)).toMatchObject({ most: { running: 9, waiting: 1 }, last: { running: 9 } });
  expect(history.at(-2)!.firstTokens.reduce((sum, num) => sum + num, 0)).toBe(10);
  const times = history.map(({ atMs }) => atMs);
  expect(times).toEqual([...times].sort((a, b) => a - b));
});

test("a clock that is set back leaves no point of the future behind", () => {
  const state = emptyHub();
  const { counted } = report("a", 1, 3);
  const ahead = withReport([], counted, state, NOW_MS + 3_600_000);
  expect(withReport(ahead, counted, state, NOW_MS).map(({ atMs }) => atMs)).toEqual([NOW_MS]);
});
