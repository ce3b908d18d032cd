import fc from "fast-check";
import { expect, test } from "vitest";
import {
  countDelta,
  formatDuration,
  formatRate,
  labelMetrics,
  metricsOf,
  startTiming,
} from "../../../src/page/chat/metrics.ts";

const usage = { promptTokens: 50, completionTokens: 11, cachedTokens: 40 };

test("time to first token runs from sending; speed leaves the first token out", () => {
  let timing = startTiming(1000);
  expect(metricsOf(timing)).toBeNull();
  for (const atMs of [1250, 1300, 1350]) timing = countDelta(timing, atMs);
  expect(metricsOf(timing)).toEqual({
    ttftMs: 250,
    tokensPerS: 20,
    numTokens: 3,
    cachedTokens: null,
    promptTokens: null,
  });
});

test("the server's count wins over the number of deltas", () => {
  const timing = countDelta(countDelta(startTiming(0), 100), 600);
  expect(metricsOf({ ...timing, usage })).toMatchObject({ numTokens: 11, tokensPerS: 20, cachedTokens: 40 });
});

test("one token, or all at once, has no speed", () => {
  expect(metricsOf(countDelta(startTiming(0), 10))?.tokensPerS).toBeNull();
  expect(metricsOf(countDelta(countDelta(startTiming(0), 10), 10))?.tokensPerS).toBeNull();
});

test("speed is never negative or endless, whatever the clock does", () => {
  fc.assert(
    fc.property(fc.array(fc.nat({ max: 1e6 })), (gaps) => {
      let nowMs = 0;
      let timing = startTiming(nowMs);
      for (const gap of gaps) {
        nowMs += gap;
        timing = countDelta(timing, nowMs);
      }
      const speed = metricsOf(timing)?.tokensPerS ?? 0;
      expect(Number.isFinite(speed) && speed >= 0).toBe(true);
    }),
  );
});

test("the line under an answer", () => {
  const texts = (metrics: Parameters<typeof labelMetrics>[0]) => labelMetrics(metrics).map(({ text }) => text);
  const metrics = { ttftMs: 412.4, tokensPerS: 38.24, numTokens: 87, cachedTokens: 120, promptTokens: 150 };
  expect(texts(metrics)).toEqual(["412 ms to first token", "38.2 tokens/s", "87 tokens", "120 cached"]);
  expect(texts({ ...metrics, tokensPerS: null, numTokens: 1, cachedTokens: 0 })).toEqual([
    "412 ms to first token",
    "1 token",
  ]);
});

test.each([
  [0.4, "0 ms"],
  [999, "999 ms"],
  [1000, "1.0 s"],
  [9949, "9.9 s"],
  [61_000, "61 s"],
])("%d ms is written %s", (ms, expected) => expect(formatDuration(ms)).toBe(expected));

test.each([
  [0.26, "0.3"],
  [99.9, "99.9"],
  [99.97, "100"],
  [1234.5, "1235"],
])("%d a second is written %s", (rate, expected) => expect(formatRate(rate)).toBe(expected));
