/** Medians, quartiles and ratios of the benchmarks. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { pairedRatios, quantile, round, summarize } from "../../../scripts/bench/statistics.ts";

describe("summarize", () => {
  test.each([
    [[7], 7, 7, 7],
    [[3, 1], 2, 1.5, 2.5],
    [[5, 1, 3], 3, 2, 4],
    [[4, 1, 3, 2], 2.5, 1.75, 3.25],
  ])("%j: median %d, quartiles %d and %d", (samples, median, q1, q3) => {
    expect(summarize(samples)).toEqual({ median, q1, q3, samples });
  });

  test("one disturbed sample does not move the median", () => {
    expect(summarize([100, 101, 99, 100, 3]).median).toBe(100);
  });

  test("refuses to summarize nothing", () => {
    expect(() => summarize([])).toThrow("There is no sample");
  });

  test("quantiles lie within the samples and rise with the share", () => {
    const samples = fc.array(fc.double({ min: 0.001, max: 1e6, noNaN: true }), { minLength: 1 });
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(samples, share, share, (values, a, b) => {
        const sorted = [...values].sort((x, y) => x - y);
        const [low, high] = [quantile(sorted, Math.min(a, b)), quantile(sorted, Math.max(a, b))];
        // Interpolation rounds.
        expect(low).toBeLessThanOrEqual(high * (1 + 1e-12));
        expect(low).toBeGreaterThanOrEqual(sorted[0]! * (1 - 1e-12));
        expect(high).toBeLessThanOrEqual(sorted.at(-1)! * (1 + 1e-12));
      }),
    );
  });
});

test("ratios pair the samples of a round; a round that only one has is left out", () => {
  expect(pairedRatios([10, 30, 8], [5, 10])).toEqual([2, 3]);
});

test("four significant digits are kept", () => {
  expect([123456, 12.3456, 0.00123456].map(round)).toEqual([123500, 12.35, 0.001235]);
});
