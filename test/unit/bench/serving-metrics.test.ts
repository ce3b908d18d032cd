/** The statistics of a run against numbers computed by hand, from the definitions of vLLM's serve.py. */
import { describe, expect, test } from "vitest";
import { failedOutcome, type RequestOutcome } from "../../../scripts/bench/load/outcome.ts";
import { servingMetrics, tpotMs } from "../../../scripts/bench/load/serving-metrics.ts";

function outcome(parts: Partial<RequestOutcome>): RequestOutcome {
  const nothing = { startMs: 0, queueMs: 0, itlMs: [], promptTokens: 100, cachedTokens: null };
  return { ...nothing, ttftMs: 100, latencyMs: 100, outputTokens: 1, error: null, ...parts };
}

/** 100 + 3 · 50, 200 + 2 · 150, and an answer of one token. */
const OUTCOMES = [
  outcome({ startMs: 0, ttftMs: 100, latencyMs: 250, itlMs: [50, 50, 50], outputTokens: 4 }),
  outcome({ startMs: 100, ttftMs: 200, latencyMs: 500, itlMs: [100, 200], outputTokens: 3, queueMs: 30 }),
  outcome({ startMs: 250, ttftMs: 300, latencyMs: 300, outputTokens: 1, promptTokens: 60, cachedTokens: 48 }),
  failedOutcome(400, 0, "HTTP 500: no"),
];
const RUN = { outcomes: OUTCOMES, durationMs: 2000 };

describe("a run of three answers and a failure in two seconds", () => {
  const metrics = servingMetrics(RUN);

  test("counts what failed apart", () => {
    expect(metrics).toMatchObject({ completed: 3, failed: 1, durationS: 2 });
    expect(metrics.errors).toEqual([{ message: "HTTP 500: no", count: 1 }]);
  });

  test("has throughput of what completed, by the whole duration", () => {
    expect(metrics).toMatchObject({
      inputTokens: 260,
      outputTokens: 8,
      cachedTokens: 48,
      requestsPerS: 1.5,
      outputTokensPerS: 4,
      totalTokensPerS: 134,
    });
  });

  test("has times to the first token, of whole answers, and of waiting", () => {
    // p90 lies 0.8 of the way from 200 to 300, p99 0.98 of it; deviation √(20000 / 3).
    expect(metrics.ttftMs).toEqual({ mean: 200, std: 81.65, p50: 200, p90: 280, p99: 298 });
    expect(metrics.e2elMs).toEqual({ mean: 350, std: 108, p50: 300, p90: 460, p99: 496 });
    expect(metrics.queueMs).toMatchObject({ mean: 10, p50: 0 });
  });

  test("has a time per token of every answer with more than one", () => {
    expect(OUTCOMES.slice(0, 3).map(tpotMs)).toEqual([50, 150, 0]);
    expect(metrics.tpotMs).toEqual({ mean: 100, std: 50, p50: 100, p90: 140, p99: 149 });
  });

  test("has the gaps of all answers together", () => {
    expect(metrics.itlMs).toEqual({ mean: 90, std: 58.31, p50: 50, p90: 160, p99: 196 });
  });

  test("has the most that ran at one time; who leaves at a time was gone before who came then", () => {
    // [0, 250) and [100, 600) overlap; [250, 550) begins as the first one ends.
    expect(metrics.peakConcurrency).toBe(2);
  });
});

describe("goodput", () => {
  test.each([
    [{ ttft: 200 }, 1],
    [{ ttft: 300 }, 1.5],
    [{ tpot: 50 }, 1],
    [{ tpot: 49.9 }, 0.5],
    [{ ttft: 300, tpot: 100, e2el: 300 }, 1],
    [{ e2el: 100 }, 0],
    [{}, 1.5],
  ])(
    "within %j: %d requests a second; bounds themselves are good, one token has no time per token",
    (levels, wanted) => {
      expect(servingMetrics(RUN, levels).goodRequestsPerS).toBe(wanted);
    },
  );

  test("is not there where nobody asked for it", () => {
    expect(servingMetrics(RUN).goodRequestsPerS).toBeNull();
  });
});

test("a run in which everything failed has no times, and says why", () => {
  const outcomes = ["refused", "refused", "cut"].map((message) => failedOutcome(0, 0, message));
  const metrics = servingMetrics({ outcomes, durationMs: 1000 }, { ttft: 1 });
  expect(metrics).toMatchObject({ completed: 0, failed: 3, requestsPerS: 0, goodRequestsPerS: 0, peakConcurrency: 0 });
  expect([metrics.ttftMs, metrics.tpotMs, metrics.itlMs, metrics.e2elMs]).toEqual([null, null, null, null]);
  expect(metrics.errors).toEqual([
    { message: "refused", count: 2 },
    { message: "cut", count: 1 },
  ]);
});
