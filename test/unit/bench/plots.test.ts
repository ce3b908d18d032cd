/** From results to plots and README: the figures that people read are the ones that were measured. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { barChart, type Chart, format } from "../../../scripts/bench/bar-chart.ts";
import { benchmarkPage } from "../../../scripts/bench/benchmark-page.ts";
import { axisScale } from "../../../scripts/bench/chart-scale.ts";
import { summarizeGpu } from "../../../scripts/bench/gpu/summary.ts";
import { CEILINGS } from "../../../scripts/bench/kernel-report.ts";
import { servingMetrics } from "../../../scripts/bench/load/serving-metrics.ts";
import { readResults } from "../../../scripts/bench/read-results.ts";
import { withBlock } from "../../../scripts/bench/readme-block.ts";
import { RESULT_VERSION, type Results } from "../../../scripts/bench/results.ts";
import { type Summary, summarize } from "../../../scripts/bench/statistics.ts";

const ROOT = join(import.meta.dirname, "../../..");
const DOCS = join(ROOT, "docs/benchmarks");

describe("what is committed", () => {
  const results = readResults(DOCS);

  test("the README says what the results say", () => {
    const readme = readFileSync(join(ROOT, "README.md"), "utf8");
    expect(withBlock(readme, results)).toBe(readme);
  });

  test("the page is made from the results", () => {
    expect(readFileSync(join(DOCS, "index.html"), "utf8")).toBe(benchmarkPage(results));
  });
});

describe("an axis", () => {
  test.each([
    [1, [0, 0.2, 0.4, 0.6, 0.8, 1]],
    [6, [0, 1, 2, 3, 4, 5, 6]],
    [7, [0, 2, 4, 6, 8]],
    [128, [0, 50, 100, 150]],
  ])("up to %d", (largest, ticks) => {
    expect(axisScale(largest)).toEqual({ ticks, end: ticks.at(-1) });
  });

  test("covers every value in few even steps", () => {
    fc.assert(
      fc.property(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), (largest) => {
        const { end, ticks } = axisScale(largest);
        expect(end).toBeGreaterThanOrEqual(largest * (1 - 1e-8));
        expect(end).toBeLessThan(largest * 2);
        expect(ticks.length).toBeLessThanOrEqual(7);
      }),
    );
  });
});

describe("a chart", () => {
  const chart: Chart = {
    title: "Speed <of> it",
    unit: "GB/s",
    series: ["a & b"],
    groups: [
      { label: "one", bars: [{ series: 0, value: 4, q1: 3, q3: 5 }] },
      { label: "two", bars: [{ series: 0, value: 2 }] },
    ],
    lines: [{ label: "most", value: 6 }],
  };
  const html = barChart(chart, "c");

  test("draws bars in proportion", () => {
    const widths = [...html.matchAll(/<rect[^>]* width="([\d.]+)"/g)].map((match) => Number(match[1]));
    expect(widths).toHaveLength(2);
    expect(widths[0]! / widths[1]!).toBeCloseTo(2, 2);
  });

  test("has its numbers as a table, for those who do not see it", () => {
    expect(html).toContain('role="img"');
    expect(html).toContain('aria-describedby="c-numbers"');
    expect(html).toContain('<details id="c-numbers">');
    expect(html).toContain('<tr><th scope="row">one</th><td>4 <small>3–5</small></td></tr>');
    expect(html).toContain("<p>most: 6 GB/s</p>");
  });

  test("escapes what it is given", () => {
    expect(html).toContain("Speed &#60;of&#62; it");
    expect(html).toContain("a &#38; b");
  });

  test("shows three digits", () => {
    expect([0.12345, 12.345, 999.4, 1234.5].map(format)).toEqual(["0.123", "12.3", "999", "1,235"]);
  });
});

describe("all kinds of results", () => {
  const one = (value: number): Summary => summarize([value]);
  const header = {
    version: RESULT_VERSION,
    takenAt: "2026-11-22T10:00:00.000Z",
    machine: {
      cpu: "Test CPU",
      cores: 2,
      cpuFlags: ["avx2"],
      allowedCores: "0",
      memoryBytes: 1,
      platform: "linux x64",
      node: "24.0.0",
      v8: "13",
      workerd: "1.0",
    },
    settings: { contextTokens: 2048, kvPrecision: "f16" },
  };
  const model = { name: "m-q4_0", sizeBytes: 1, isRandom: true };
  const tokens = (value: number) => ({ 1: one(value), 4: one(value), 16: one(value), 64: one(value) });
  const outcome = { startMs: 0, queueMs: 0, ttftMs: 40, itlMs: [], promptTokens: 9, cachedTokens: null, error: null };
  const metrics = servingMetrics({ outcomes: [{ ...outcome, latencyMs: 1000, outputTokens: 97 }], durationMs: 1000 });
  const section = (values: Record<string, unknown>) => ({ status: "done" as const, seconds: 1, values });
  const decode = [
    { batch: 8, contextTokens: 1024, tokensPerS: 900, stepMs: 8.9, p99StepMs: 9, gbPerS: 2000, ofRead: 0.5 },
  ];
  const sections = {
    adapter: section({ adapter: { device: "Test GPU", description: "driver 1" } }),
    ceilings: section({ readGbPerS: 4000 }),
    "llama-8b f16": section({ decode, serving: { outputTokensPerS: 3000 } }),
    "transformers llama-8b": section({ "one-at-a-time": { outputTokensPerS: 30 } }),
    kernels: section({ times: [{ name: "gemv F16", gbPerS: 3000, ofRead: 0.75 }] }),
  };
  const results: Results[] = [
    { ...header, kind: "gpu", sections, summary: summarizeGpu(sections) },
    {
      ...header,
      kind: "peers",
      promptTokens: 256,
      newTokens: 64,
      results: [
        {
          model,
          engines: [
            { engine: "runnel", version: "1", build: "", prefill: one(400), decode: one(120) },
            { engine: "other", version: "2", build: "", prefill: one(200), decode: one(40) },
          ],
          ratios: [{ engine: "runnel", against: "other", prefill: one(2), decode: one(3) }],
        },
      ],
    },
    {
      ...header,
      kind: "engine",
      results: [
        {
          model,
          host: "workerd",
          vnniAllowed: false,
          engine: "wasm-relaxed-simd",
          memory: {
            weightsBytes: 1,
            kvBytes: 1,
            scratchBytes: 1,
            totalBytes: 3,
            contextLength: 9,
            peakProcessBytes: null,
          },
          measures: { "decode-0": one(123), "prefill-256": one(456), "load-ratio": one(0.5) },
        },
      ],
    },
    {
      ...header,
      kind: "kernels",
      engine: "wasm-relaxed-simd",
      vnniAllowed: true,
      ceilings: Object.fromEntries(Object.values(CEILINGS).map((name) => [name, one(60)])),
      results: [
        { type: "Q4_0", bitsPerWeight: 4.5, cached: tokens(30), streamed: tokens(20), streamedReadGbPerS: one(11) },
      ],
    },
    {
      ...header,
      kind: "sessions",
      model: "m-demo",
      promptTokens: one(930),
      restoredTtftMs: one(40),
      recomputedTtftMs: one(500),
      residentTtftMs: one(12),
      speedup: one(12.5),
      streams: [
        { numSessions: 1, tokensPerS: one(200) },
        { numSessions: 8, tokensPerS: one(640) },
      ],
      togetherSpeedup: one(3.2),
      larger: {
        model: "m-135m",
        isRandom: true,
        promptTokens: one(990),
        restoredTtftMs: one(400),
        recomputedTtftMs: one(9000),
        residentTtftMs: one(250),
        speedup: one(22.5),
      },
    },
    {
      ...header,
      kind: "origin",
      settings: { numPrompts: 100, outputTokens: 128 },
      label: "origin",
      model: "m-8b",
      endpoint: "completions",
      promptKind: "tokens",
      goodput: null,
      runs: [
        {
          ratePerS: null,
          maxConcurrency: 64,
          metrics,
          samples: { startMs: [], ttftMs: [], e2elMs: [], outputTokens: [] },
        },
      ],
    },
  ];

  test("become figures in the README, in place of the old ones", () => {
    const readme = withBlock(
      "a\n<!-- bench:start, by `npm run bench:plots` -->stale figures<!-- bench:end -->\nb",
      results,
    );
    expect(readme).not.toContain("stale figures");
    expect(readme).toContain("| m-q4_0 | other | 200 (we: 2.00 ×) | 40 (we: 3.00 ×) |");
    expect(readme).toContain("| m-q4_0 | workerd, no AVX-VNNI | 456 | 123 | – | – | – | 50 % |");
    expect(readme).toContain("| restored from storage after a restart | 40 ms, 12.5 × sooner |");
    expect(readme).toContain("The same of `m-135m`, random weights, with a prompt of 990 tokens:");
    expect(readme).toContain("| restored from storage after a restart | 400 ms, 22.5 × sooner |");
    expect(readme).toContain("| 8 sessions answer at once | 640 tokens/s, 3.20 × as many |");
    expect(readme).toContain("The GPU engine on Test GPU driver 1:");
    expect(readme).toContain("| llama-8b f16 | 8 | 1,024 | 900 (50 %) | 8.9 |");
    expect(readme).toContain("llama-8b f16 ÷ `one-at-a-time` 100.");
    expect(readme).toContain("| 64 at once | 97 | 1 | 40 | 40 | 10 | 10 | 0 |");
    expect(withBlock(readme, results)).toBe(readme);
  });

  test("become charts on the page, with the machine they are from", () => {
    const page = benchmarkPage(results);
    expect(page).toContain("Decode of 64 tokens, one thread each");
    expect(page).toContain("m-q4_0: prefill");
    expect(page).toContain("Weights drawn from memory by one token");
    expect(page).toContain("m-demo, first token of a next turn, prompt of 930 tokens");
    expect(page).toContain("m-135m, first token of a next turn, prompt of 990 tokens");
    expect(page).toContain("8 sessions");
    expect(page).toContain("llama-8b: decode of so many sequences at a context");
    expect(page).toContain("memory read in one stream");
    expect(page).toContain("m-8b at origin, time to the first token");
    expect(page.match(/Test CPU \(avx2\), 2 cores; Node 24.0.0, workerd 1.0; 2026-11-22\./g)).toHaveLength(6);
    const ids = [...page.matchAll(/ id="([^"]+)"/g)].map((match) => match[1]);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("need the markers of the README", () => {
    expect(() => withBlock("no markers", results)).toThrow("lacks the markers");
  });
});
