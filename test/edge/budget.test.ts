import { expect, test } from "vitest";
import { KV_PRECISIONS, type KvPrecision } from "../../src/backends/cpu/memory-plan.ts";
import {
  budgetFrom,
  ISOLATE_BUDGET_BYTES,
  JS_RESERVE_BYTES,
  planMemory,
  tokenizerBytesOf,
} from "../../src/edge/budget.ts";
import type { GgufTensorInfo } from "../../src/model/gguf.ts";
import type { ModelSpec } from "../../src/model/model-spec.ts";
import { tinyModel } from "../support/tiny-model.ts";

const FREE_BYTES = ISOLATE_BUDGET_BYTES - JS_RESERVE_BYTES;
const { spec: TINY, header: TINY_HEADER } = await tinyModel({ weightType: "Q8_0", contextLength: 2048 });

/** A spec whose embedding alone weighs so much: nothing of it has to exist to be planned. */
function withVocabulary(vocabSize: number, change: Partial<ModelSpec> = {}): ModelSpec {
  const stored: GgufTensorInfo = { ...TINY.tensors.tokenEmbedding.stored, dims: [TINY.dModel, vocabSize] };
  const tokenEmbedding = { ...stored, stored, firstRow: 0 };
  return { ...TINY, vocabSize, tensors: { ...TINY.tensors, tokenEmbedding }, ...change };
}

const plan = (spec: ModelSpec, freeBytes = FREE_BYTES, tokenizerBytes = 1_000_000) =>
  planMemory("m", { spec, tokenizerBytes, kvPrecision: null }, ISOLATE_BUDGET_BYTES, freeBytes);

test("a tiny model gets its own context, and a pool of several contexts", () => {
  const { engine, totalBytes, tokenizerBytes } = plan(TINY)!;
  expect(engine.contextLength).toBe(2048);
  expect(engine.numBlocks).toBe(8 * (2048 / 16));
  expect(totalBytes).toBe(engine.totalBytes + tokenizerBytes);
});

test("a pool takes no more than is worth it, but always one context", () => {
  const { engine } = plan({ ...TINY, numKvHeads: 4, headDim: 64, contextLength: 16_384 })!;
  expect(engine.contextLength).toBe(16_384);
  expect(engine.numBlocks).toBe(16_384 / 16);
});

test("a context whose KV does not fit is shortened to whole blocks", () => {
  const { engine, totalBytes } = plan({ ...TINY, numKvHeads: 4, headDim: 512, contextLength: 32_768 })!;
  expect(engine.contextLength).toBeLessThan(32_768);
  expect(engine.contextLength).toBe(engine.numBlocks * 16);
  expect(totalBytes).toBeLessThanOrEqual(FREE_BYTES);
  expect(totalBytes + 2 * engine.blockBytes).toBeGreaterThan(FREE_BYTES);
});

test("the KV cache is int8 where f16 leaves no roomy context, whatever is loaded beside it", () => {
  const spec = { ...TINY, numKvHeads: 16, headDim: 512, contextLength: 32_768 };
  const { engine, totalBytes } = plan(spec)!;
  expect(engine.kvPrecision).toBe("q8");
  expect(engine.contextLength).toBe(engine.numBlocks * 16);
  expect(totalBytes).toBeLessThanOrEqual(FREE_BYTES);
  expect(plan({ ...spec, contextLength: 512 })!.engine.kvPrecision).toBe("i16");
  expect(plan({ ...spec, contextLength: 512 }, 60_000_000)!.engine.kvPrecision).toBe("i16");
});

test("the operator's precision is kept, whatever fits", () => {
  const wanted = (kvPrecision: KvPrecision) =>
    planMemory("m", { spec: TINY, tokenizerBytes: 0, kvPrecision }, ISOLATE_BUDGET_BYTES, FREE_BYTES)!.engine
      .kvPrecision;
  expect(KV_PRECISIONS.map(wanted)).toEqual([...KV_PRECISIONS]);
});

test("beside another model the context stays and the pool shrinks; too little room is null", () => {
  const alone = plan(TINY)!;
  const beside = plan(TINY, alone.totalBytes - 30 * alone.engine.blockBytes)!;
  expect(beside.engine.contextLength).toBe(alone.engine.contextLength);
  expect(beside.engine.numBlocks).toBeLessThan(alone.engine.numBlocks);
  expect(beside.totalBytes).toBeLessThanOrEqual(alone.totalBytes - 30 * alone.engine.blockBytes);
  expect(plan(TINY, 1_000_000)).toBeNull();
});

test("a model over the budget is refused with every number", () => {
  const large = withVocabulary(2_000_000);
  const numbers =
    /needs \d+\.\d MB \(weights \d+\.\d MB, KV of 512 tokens \d+\.\d MB, scratch \d+\.\d MB, tokenizer 1\.0 MB\), and 113\.5 MB are there: the isolate's 128\.0 MB less 14\.5 MB/;
  expect(() => plan(large)).toThrow(numbers);
  expect(() => plan(large)).toThrow(expect.objectContaining({ status: 422, code: "model_unusable" }));
});

test("a tokenizer is counted by its tokens and merges, also where the file has no merges", () => {
  const counted = tokenizerBytesOf(TINY_HEADER);
  const withoutMerges = new Map([...TINY_HEADER.metadata].filter(([key]) => key !== "tokenizer.ggml.merges"));
  expect(counted).toBeGreaterThan(30 * TINY.vocabSize);
  expect(tokenizerBytesOf({ metadata: withoutMerges })).toBe((30 + 3 * 120) * TINY.vocabSize);
  expect(tokenizerBytesOf({ metadata: new Map() })).toBe(0);
});

test("a model made for a short context is not refused for it", () => {
  expect(plan({ ...TINY, contextLength: 128 })!.engine.contextLength).toBe(128);
});

test("MEMORY_BUDGET_BYTES is a number of bytes above the reserve, or an error that says so", () => {
  expect(budgetFrom(undefined)).toBe(ISOLATE_BUDGET_BYTES);
  expect(budgetFrom("64000000")).toBe(64_000_000);
  for (const wrong of ["", "lots", "1e400", "1000", "-5"]) expect(() => budgetFrom(wrong)).toThrow(`'${wrong}'`);
});
