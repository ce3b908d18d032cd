/** The sizes that a GPU backend allocates. */
import { beforeAll, expect, test } from "vitest";
import { layOutStep, planGpu } from "../../../src/backends/gpu/options.ts";
import { joined } from "../../../src/backends/gpu/step-buffer.ts";
import type { ModelSpec } from "../../../src/model/model-spec.ts";
import { tinyModel } from "../../support/tiny-model.ts";

let spec: ModelSpec;
beforeAll(async () => {
  spec = (await tinyModel()).spec;
});

test("a pool holds all contexts, or what its bytes allow; the context is what the pool holds", () => {
  expect(planGpu(spec, { maxBatchSequences: 3 })).toMatchObject({ numBlocks: 48, contextLength: 256, tableBlocks: 16 });
  // 2 layers · 2 KV heads · 16 components · 16 tokens · (keys and values of 2 bytes).
  const blockBytes = 2 * 2 * 16 * 16 * 4;
  expect(planGpu(spec, { kvBytes: 5 * blockBytes + 1 })).toMatchObject({ numBlocks: 5, contextLength: 80 });
  // int8 halves it and adds 8 bytes of scales for each token and head.
  const int8 = planGpu(spec, { kvBytes: 5 * blockBytes, kvPrecision: "int8" });
  expect(int8.numBlocks).toBe(Math.floor((5 * blockBytes) / (blockBytes / 2 + 2 * 2 * 16 * 8)));
  expect(() => planGpu(spec, { kvBytes: 100 })).toThrow(/kvBytes is 100; one KV block of this model takes 4096/);
  expect(() => planGpu(spec, { maxBatchTokens: 0 })).toThrow(/maxBatchTokens is 0/);
});

test("the parts of a step's buffer start where bindings may, and do not overlap", () => {
  const { parts, totalWords } = layOutStep(planGpu(spec, { maxBatchSequences: 3, maxBatchTokens: 17 }));
  let end = 0;
  for (const { firstWord, words } of Object.values(parts)) {
    expect(firstWord % 64).toBe(0);
    expect(firstWord).toBeGreaterThanOrEqual(end);
    end = firstWord + words;
  }
  expect(end).toBeLessThanOrEqual(totalWords);
});

test("what lies close together is uploaded as one piece", () => {
  const ranges = [
    { start: 9000, end: 9010 },
    { start: 0, end: 1 },
    { start: 64, end: 70 },
    { start: 4166, end: 4200 },
  ];
  expect(joined(ranges)).toEqual([
    { start: 0, end: 4200 },
    { start: 9000, end: 9010 },
  ]);
});
