import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { KV_PRECISIONS, planCpuMemory } from "../../../src/backends/cpu/memory-plan.ts";
import { ARCHITECTURES } from "../../../src/model/architectures.ts";
import { ModelError } from "../../../src/model/errors.ts";
import { tinyModel, tinyModelBytes } from "../../support/tiny-model.ts";
import { loadBytes } from "./support.ts";

const { spec } = await tinyModel();
const bytes = tinyModelBytes();

describe("planCpuMemory", () => {
  test("is what the backend then allocates, for any options", async () => {
    const options = fc.record({
      blockTokens: fc.integer({ min: 1, max: 40 }),
      numBlocks: fc.integer({ min: 1, max: 60 }),
      kvPrecision: fc.constantFrom(...KV_PRECISIONS),
      maxBatchTokens: fc.integer({ min: 1, max: 100 }),
      maxBatchSequences: fc.integer({ min: 1, max: 20 }),
      contextLength: fc.integer({ min: 1, max: 400 }),
    });
    await fc.assert(
      fc.asyncProperty(options, async (chosen) => {
        const plan = planCpuMemory(spec, chosen);
        // Loading compares every size with the kernels' own arithmetic and throws where one differs.
        const backend = await loadBytes(bytes, "scalar", chosen);
        expect(backend.plan).toEqual(plan);
        const { weightsBytes, kvBytes, scratchBytes } = backend.memory;
        expect(weightsBytes + kvBytes + scratchBytes).toBe(plan.totalBytes);
        expect(kvBytes).toBe(chosen.numBlocks * plan.blockBytes);
        expect(plan.contextLength).toBe(
          Math.min(chosen.contextLength, spec.contextLength, chosen.numBlocks * chosen.blockTokens),
        );
      }),
      { numRuns: 40, seed: 1 },
    );
  });

  test.each(Object.keys(ARCHITECTURES))("agrees with the kernels on %s", async (architecture) => {
    const model = await tinyModel({ architecture, numKvHeads: 4, slidingWindow: architecture === "gemma3" ? 8 : 0 });
    const options = { maxBatchTokens: 7, numBlocks: 3 };
    expect((await loadBytes(model.bytes, "scalar", options)).plan).toEqual(planCpuMemory(model.spec, options));
  });

  test("takes room for whole contexts where nothing else is said", () => {
    const plan = planCpuMemory(spec, { maxBatchSequences: 3 });
    expect(plan.numBlocks).toBe((3 * 256) / 16);
    expect(plan.contextLength).toBe(256);
  });

  test("gives the KV pool what a budget leaves, and not a byte more", () => {
    const whole = planCpuMemory(spec).totalBytes;
    for (const memoryBudgetBytes of [whole, whole - 1, whole - 300_000, 950_000]) {
      const plan = planCpuMemory(spec, { memoryBudgetBytes });
      expect(plan.totalBytes).toBeLessThanOrEqual(memoryBudgetBytes);
      const more = planCpuMemory(spec, { numBlocks: plan.numBlocks + 1 });
      if (memoryBudgetBytes < whole) expect(more.totalBytes).toBeGreaterThan(memoryBudgetBytes);
    }
  });

  test("refuses with the numbers what no pool makes fit", () => {
    const attempt = () => planCpuMemory(spec, { memoryBudgetBytes: 500_000 });
    expect(attempt).toThrow(ModelError);
    expect(attempt).toThrow(/weights 0\.\d MB, KV cache of 1 block .* budget is 0\.5 MB/);
    expect(() => planCpuMemory(spec, { numBlocks: 4000, memoryBudgetBytes: 1_000_000 })).toThrow(/4000 blocks/);
  });

  test("takes the pool in bytes, and not both ways at once", () => {
    const { blockBytes } = planCpuMemory(spec, { numBlocks: 1 });
    expect(planCpuMemory(spec, { kvBytes: 6 * blockBytes - 1 }).numBlocks).toBe(5);
    expect(() => planCpuMemory(spec, { kvBytes: 10 })).toThrow(/less than one KV block/);
    expect(() => planCpuMemory(spec, { kvBytes: 10_000, numBlocks: 2 })).toThrow(/not both/);
  });

  test.each([
    ["blockTokens", 0],
    ["blockTokens", 1.5],
    ["numBlocks", -1],
    ["maxBatchTokens", 0],
    ["maxBatchSequences", Number.NaN],
    ["contextLength", 0],
  ])("refuses %s of %d", (name, value) => {
    expect(() => planCpuMemory(spec, { [name]: value })).toThrow(RangeError);
  });

  test("refuses widths that the kernels cannot run", () => {
    expect(() => planCpuMemory({ ...spec, headDim: 6 })).toThrow(/headDim is 6.*multiple of 4/);
  });
});
