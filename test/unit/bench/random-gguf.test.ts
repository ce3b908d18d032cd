/** Models with random weights: readable, usable by the engine and the tokenizer, the same for the same seed. */
import { describe, expect, test } from "vitest";
import { dummyVocabulary } from "../../../scripts/bench/dummy-vocabulary.ts";
import { MIXES, type MixName, matrixType, SHAPES } from "../../../scripts/bench/gguf-shapes.ts";
import { canBeRandom, randomBlocks } from "../../../scripts/bench/random-blocks.ts";
import { randomGguf, typeCounts } from "../../../scripts/bench/random-gguf.ts";
import { decodeStep, placeSequence, prefill, promptTokens } from "../../../scripts/bench/running-sequences.ts";
import { dequantize } from "../../../src/model/dequantize.ts";
import { READABLE_TYPE_NAMES } from "../../../src/model/ggml-types.ts";
import { GGML_BLOCK } from "../../../src/model/gguf.ts";
import { readGgufHeader } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { specFromGguf } from "../../../src/model/spec-from-gguf.ts";
import { fromGguf } from "../../../src/text/from-gguf.ts";
import { uniformSource } from "../../support/random.ts";
import { loadBytes } from "../cpu/support.ts";

const mixes = Object.keys(MIXES) as MixName[];
const tiny = (mix: MixName, seed = 1) => randomGguf({ shape: "tiny", mix, seed });

describe.each(mixes)("tiny in %s", (mix) => {
  test("runs: prefill and decode move on, and the logits are sound", async () => {
    const backend = await loadBytes(tiny(mix), "scalar", { maxBatchTokens: 8 });
    const sequence = placeSequence(backend.limits, 32);
    prefill(backend, sequence, promptTokens(20, backend.limits.vocabSize));
    for (let i = 0; i < 4; i++) decodeStep(backend, [sequence]);
    const { position, nextToken, blockTable } = sequence;
    expect(position).toBe(24);
    const output = { row: 0, sample: null, scoreToken: null, numLogprobs: null, wantLogits: true };
    const sequences = [{ tokens: [nextToken], startPosition: position, blockTable, outputs: [output] }];
    const logits = [...backend.step({ copies: [], sequences }).rows[0]!.logits!];
    expect(logits.every(Number.isFinite)).toBe(true);
    expect(Math.max(...logits) - Math.min(...logits)).toBeGreaterThan(1);
  });

  test("is the same for the same seed, and another for another", () => {
    expect(tiny(mix)).toEqual(tiny(mix));
    expect(tiny(mix, 2)).not.toEqual(tiny(mix));
  });
});

test("its tokenizer gives back what it was given", async () => {
  const header = await readGgufHeader(memorySource(tiny("q4_0"), "tiny"));
  expect(specFromGguf(header, "tiny").vocabSize).toBe(SHAPES.tiny.vocabSize);
  const tokenizer = fromGguf(header);
  const text = "Streamed!!! 12 São";
  const ids = tokenizer.encode(text, { addSpecialTokens: false, parseSpecial: false });
  expect(tokenizer.decode(ids)).toBe(text);
  expect(ids.length).toBeLessThan(new TextEncoder().encode(text).length);
});

describe("a vocabulary", () => {
  test("has as many tokens as asked for, none twice, and a merge for each that is no byte", () => {
    const { tokens, merges, types, endOfTextId } = dummyVocabulary(49_152);
    expect(tokens).toHaveLength(49_152);
    expect(new Set(tokens).size).toBe(49_152);
    expect(merges).toHaveLength(49_152 - 256 - 3);
    expect(types).toHaveLength(49_152);
    expect(tokens[endOfTextId]).toBe("<|endoftext|>");
  });

  test("too small for the bytes is refused", () => {
    expect(() => dummyVocabulary(258)).toThrow("no room for 256 bytes");
  });
});

test("Q4_K_M of a 576-wide model is mostly Q5_0, as llama-quantize makes it", () => {
  const { numLayers, dModel, ffnDim } = SHAPES["smollm2-135m"];
  const tensors = Array.from({ length: numLayers }, (_, layer) => [
    ...(["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up"] as const).map((role) =>
      matrixType("q4_k_m", role, layer, numLayers, dModel),
    ),
    matrixType("q4_k_m", "ffn_down", layer, numLayers, ffnDim),
  ]).flat();
  const embedding = matrixType("q4_k_m", "token_embd", 0, numLayers, dModel);
  const dims = [1, 1];
  expect(typeCounts([...tensors, embedding].map((type) => ({ type, dims })))).toBe("Q5_0×166 Q4_K×16 Q8_0×15 Q6_K×14");
});

test.each(READABLE_TYPE_NAMES.filter(canBeRandom))("random %s weights have mean 0 and the wanted deviation", (type) => {
  const numElements = 4096 * Math.max(1, 32 / GGML_BLOCK[type].elements);
  const weights = dequantize(type, randomBlocks(type, numElements, 0.05, uniformSource(3)));
  const mean = weights.reduce((sum, value) => sum + value, 0) / weights.length;
  const deviation = Math.sqrt(weights.reduce((sum, value) => sum + (value - mean) ** 2, 0) / weights.length);
  expect(Math.abs(mean)).toBeLessThan(0.02);
  expect(deviation).toBeGreaterThan(0.025);
  expect(deviation).toBeLessThan(0.1);
});
