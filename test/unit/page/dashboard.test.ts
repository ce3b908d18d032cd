/** From what the server counted to lines on the dashboard. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { quantile, rowsOf, seriesOf, type WirePoint } from "../../../src/page/dashboard/history.ts";
import { lonePoints, pathOf } from "../../../src/page/dashboard/line-path.ts";
import { formatValue, ticksFor } from "../../../src/page/dashboard/scale.ts";

const NOW_MS = 1_700_000_005_000;
const NONE = { running: 0, waiting: 0, kvUsage: 0 };
const point = (agoMs: number, fields: Partial<WirePoint>): WirePoint => ({
  atMs: 1_700_000_000_000 - agoMs,
  generationTokens: 0,
  promptTokens: 0,
  requests: 0,
  errors: 0,
  firstTokens: [0, 0, 0],
  most: NONE,
  last: NONE,
  ...fields,
});

test("counts become rates, what engines hold stays until it changes, and silence is no latency", () => {
  const series = seriesOf({
    now_ms: NOW_MS,
    span_ms: 60_000,
    step_ms: 10_000,
    first_token_bounds_s: [0.1, 0.2],
    points: [
      point(30_000, {
        generationTokens: 50,
        requests: 2,
        most: { ...NONE, running: 3 },
        last: { ...NONE, running: 2 },
        firstTokens: [4, 0, 0],
      }),
      point(0, { generationTokens: 10, errors: 1, most: { running: 4, waiting: 0, kvUsage: 0.25 } }),
    ],
  });
  const { timesMs, charts } = series;
  expect(timesMs).toHaveLength(6);
  expect(timesMs.at(-1)).toBe(1_700_000_000_000);
  const line = (title: string, name: string) =>
    charts.find((chart) => chart.title === title)!.lines.find((each) => each.name === name)!.values;
  expect(line("Tokens", "generated")).toEqual([0, 0, 5, 0, 0, 1]);
  expect(line("Requests", "all")).toEqual([0, 0, 12, 0, 0, 0]);
  expect(line("Requests", "errors")).toEqual([0, 0, 0, 0, 0, 6]);
  expect(line("Sequences", "running")).toEqual([0, 0, 3, 2, 2, 4]);
  expect(line("KV cache in use", "used")).toEqual([0, 0, 0, 0, 0, 25]);
  expect(line("Time to first token", "p50")).toEqual([null, null, 0.05, null, null, null]);
  // First token, tokens, sequences, KV cache, requests: rates as means, the rest at its highest.
  const [first, second] = rowsOf(series, 3);
  expect(first!.values.map((value) => value && Number(value.toFixed(3)))).toEqual([
    0.05, 0.095, 1.667, 0, 3, 0, 0, 4, 0,
  ]);
  expect(second!.values).toEqual([null, null, 1 / 3, 0, 4, 0, 25, 0, 2]);
  expect(rowsOf(series, 4).map(({ values }) => values[4])).toEqual([0, 4]);
});

test("a quantile lies in the bucket that it falls into", () => {
  const bounds = [1, 2, 4, 8];
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0.001, max: 8, noNaN: true }), { minLength: 1 }), (values) => {
      const counts = [0, 0, 0, 0, 0];
      for (const value of values) counts[bounds.findIndex((bound) => value <= bound)]!++;
      const sorted = [...values].sort((a, b) => a - b);
      const exact = sorted[Math.ceil(0.95 * sorted.length) - 1]!;
      const index = bounds.findIndex((bound) => exact <= bound);
      const estimate = quantile(0.95, bounds, counts)!;
      expect(estimate).toBeGreaterThanOrEqual(index === 0 ? 0 : bounds[index - 1]!);
      expect(estimate).toBeLessThanOrEqual(bounds[index]!);
    }),
  );
  expect(quantile(0.5, bounds, [0, 0, 0, 0, 0])).toBeNull();
  expect(quantile(0.5, bounds, [0, 0, 0, 0, 3])).toBe(8);
});

test("ticks reach the largest value, from zero, in steps that people count in", () => {
  fc.assert(
    fc.property(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), (max) => {
      const ticks = ticksFor(max);
      expect(ticks[0]).toBe(0);
      expect(ticks.at(-1)!).toBeGreaterThanOrEqual(max * 0.999);
      expect(ticks.length).toBeGreaterThanOrEqual(2);
      expect(ticks.length).toBeLessThanOrEqual(5);
    }),
  );
  expect(ticksFor(0)).toEqual([0, 1]);
});

test.each([
  [0, "0"],
  [0.01234, "0.0123"],
  [12.345, "12.3"],
  [123.4, "123"],
  [12_345, "12.3k"],
])("%d is written %s", (value, text) => {
  expect(formatValue(value)).toBe(text);
});

test("gaps break a line, and a lone value is a point", () => {
  const at = (i: number) => i;
  expect(pathOf([1, 2, null, 3], at, at)).toBe("M0.0 1.0L1.0 2.0M3.0 3.0");
  expect(lonePoints([1, 2, null, 3, null])).toEqual([{ i: 3, value: 3 }]);
});
