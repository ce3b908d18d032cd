import { expect, test } from "vitest";
import {
  budgetFrom,
  type Footprint,
  ISOLATE_BUDGET_BYTES,
  JS_RESERVE_BYTES,
  planMemory,
} from "../../src/edge/budget.ts";

const MB = 1_000_000;
const FREE_BYTES = ISOLATE_BUDGET_BYTES - JS_RESERVE_BYTES;
/** About SmolLM2-135M in Q4_0 with an f16 KV cache: 23 kB a token. */
const SMALL: Footprint = {
  contextLength: 2048,
  vocabSize: 49_152,
  weightsBytes: 62 * MB,
  scratchBytes: 2 * MB,
  blockTokens: 16,
  kvBytesPerBlock: 16 * 23_040,
};
const plan = (need: Footprint, freeBytes = FREE_BYTES) => planMemory("m", need, ISOLATE_BUDGET_BYTES, freeBytes);

test("a tiny model gets its own context, and a pool of several contexts at most", () => {
  const tiny = { ...SMALL, weightsBytes: 8 * MB, vocabSize: 2048, kvBytesPerBlock: 16 * 1024 };
  const { contextLength, numBlocks } = plan(tiny)!;
  expect(contextLength).toBe(2048);
  expect(numBlocks).toBe(8 * (2048 / 16));
});

test("a context whose KV does not fit is shortened to whole blocks", () => {
  const { contextLength, numBlocks, totalBytes } = plan(SMALL)!;
  expect(contextLength).toBeLessThan(2048);
  expect(contextLength).toBe(numBlocks * 16);
  expect(totalBytes).toBeLessThanOrEqual(FREE_BYTES);
  expect(totalBytes + SMALL.kvBytesPerBlock).toBeGreaterThan(FREE_BYTES);
});

test("the context does not depend on what else is loaded; too little room beside it is null, not a smaller context", () => {
  const small = { ...SMALL, weightsBytes: 10 * MB };
  const alone = plan(small)!;
  const beside = plan(small, alone.totalBytes - 3 * small.kvBytesPerBlock)!;
  expect(beside.contextLength).toBe(alone.contextLength);
  expect(beside.numBlocks).toBe(alone.numBlocks - 3);
  expect(plan(small, 12 * MB)).toBeNull();
});

test("a model over the budget is refused with every number", () => {
  const large = { ...SMALL, weightsBytes: 90 * MB };
  const refusal =
    /needs 1\d\d\.\d MB \(weights 90\.0 MB, KV of 512 tokens 11\.8 MB, scratch 2\.0 MB, .* 104\.0 MB are there/;
  expect(() => plan(large)).toThrow(refusal);
  expect(() => plan(large)).toThrow(expect.objectContaining({ status: 422, code: "model_unusable" }));
});

test("a model made for a short context is not refused for it", () => {
  expect(plan({ ...SMALL, contextLength: 128 })!.contextLength).toBe(128);
});

test("MEMORY_BUDGET_BYTES is a number of bytes above the reserve, or an error that says so", () => {
  expect(budgetFrom(undefined)).toBe(ISOLATE_BUDGET_BYTES);
  expect(budgetFrom("64000000")).toBe(64 * MB);
  for (const wrong of ["", "lots", "1e400", "1000", "-5"]) expect(() => budgetFrom(wrong)).toThrow(`'${wrong}'`);
});
