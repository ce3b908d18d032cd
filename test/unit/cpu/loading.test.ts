import { describe, expect, test } from "vitest";
import { CpuBackend } from "../../../src/backends/cpu/cpu-backend.ts";
import { KERNEL_SETS } from "../../../src/backends/cpu/kernel-set.ts";
import type { LoadProgress } from "../../../src/backends/cpu/weight-loader.ts";
import { ModelError } from "../../../src/model/errors.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { specFromGguf } from "../../../src/model/spec-from-gguf.ts";
import { rawLogits } from "../../contract/backend-subject.ts";
import { compile, kernelModules } from "../../support/kernel-modules.ts";
import { referenceLogits } from "../../support/reference-forward.ts";
import { K_QUANT_SHAPE, tinyModel, tinyModelBytes } from "../../support/tiny-model.ts";
import { loadBytes } from "./support.ts";

const MIXED = tinyModelBytes({
  ...K_QUANT_SHAPE,
  numLayers: 1,
  ropeFreqs: true,
  weightType: (tensor) => (tensor.includes("attn") ? "Q5_0" : tensor.includes("ffn") ? "Q6_K" : "Q4_K"),
});

function largestDifference(actual: Float32Array, expected: Float64Array): number {
  return actual.reduce((max, value, i) => Math.max(max, Math.abs(value - expected[i]!)), 0);
}

function logitsOf(backend: CpuBackend): Float32Array {
  const sequences = [{ tokens: [1, 2, 3], startPosition: 0, blockTable: [0], outputs: [rawLogits(2)] }];
  return backend.step({ copies: [], sequences }).rows[0]!.logits!;
}

describe.each(KERNEL_SETS)("%s", (set) => {
  test("weights are the same however the source cuts them", async () => {
    const whole = logitsOf(await loadBytes(MIXED, set, {}, MIXED.length));
    expect(whole.every(Number.isFinite)).toBe(true);
    for (const chunkBytes of [1009, 4096, 70_000]) {
      expect(logitsOf(await loadBytes(MIXED, set, {}, chunkBytes))).toEqual(whole);
    }
  });
});

test("fused tensors mean the same as their parts", async () => {
  // The same numbers: parts of a fused matrix are drawn in the same order.
  for (const [architecture, numKvHeads] of [
    ["llama", 2],
    ["gpt2", 4],
  ] as const) {
    const [parts, fused] = [false, true].map((fusedQkv) => ({ architecture, numKvHeads, fusedQkv, numLayers: 1 }));
    const [apart, together] = [await tinyModel(parts), await tinyModel(fused)];
    const names = ["attnQ", "attnK", "attnV"] as const;
    for (const name of names) expect(apart.spec.tensors.layers[0]![name].firstRow).toBe(0);
    const qkv = names.flatMap((name) => [...apart.weights.get(apart.spec.tensors.layers[0]![name].stored.name)!]);
    expect([...together.weights.get("blk.0.attn_qkv.weight")!]).toEqual(qkv);
    const biases = architecture === "gpt2" ? "blk.0.attn_qkv.bias" : null;
    if (biases !== null) expect(together.weights.get(biases)).toHaveLength(192);
    const actual = logitsOf(await loadBytes(together.bytes, "relaxed", { kvPrecision: "f32" }));
    expect(largestDifference(actual, referenceLogits(together.spec, together.weights, [1, 2, 3])[2]!)).toBeLessThan(
      1e-4,
    );
    if (architecture === "llama") {
      expect(logitsOf(await loadBytes(apart.bytes, "relaxed", { kvPrecision: "f32" }))).toEqual(actual);
    }
  }
});

test.each([
  [32, "short"],
  [33, "long"],
])("a context of %i tokens rotates by the %s factors", async (contextLength, which) => {
  const { bytes, spec, weights } = await tinyModel({ architecture: "phi3", longRopeBeyond: 32 });
  const backend = await loadBytes(bytes, "scalar", { kvPrecision: "f32", contextLength });
  const rope = spec.rope!;
  const freqFactors = which === "long" ? rope.longFactors!.tensor : rope.freqFactors;
  const expected = referenceLogits({ ...spec, rope: { ...rope, freqFactors } }, weights, [1, 2, 3])[2]!;
  expect(largestDifference(logitsOf(backend), expected)).toBeLessThan(1e-4);
  const other = which === "long" ? rope.freqFactors : rope.longFactors!.tensor;
  const wrong = referenceLogits({ ...spec, rope: { ...rope, freqFactors: other } }, weights, [1, 2, 3])[2]!;
  expect(largestDifference(logitsOf(backend), wrong)).toBeGreaterThan(1e-3);
});

test("a window of one token sees only itself, whatever came before", async () => {
  const bytes = tinyModelBytes({ architecture: "mistral", slidingWindow: 1 });
  const backend = await loadBytes(bytes, "relaxed");
  const run = (tokens: number[]) => {
    const sequence = { tokens, startPosition: 0, blockTable: [0], outputs: [rawLogits(tokens.length - 1)] };
    return backend.step({ copies: [], sequences: [sequence] }).rows[0]!.logits;
  };
  expect(run([7, 8, 9, 50])).toEqual(run([100, 4, 80, 50]));
});

test("progress grows to the size of the weights", async () => {
  const file = await readGguf(memorySource(MIXED, "mixed", 10_000));
  const seen: LoadProgress[] = [];
  const spec = specFromGguf(file.header, "mixed");
  await CpuBackend.load({ modules: kernelModules(), ...file, spec, onProgress: (progress) => seen.push(progress) });
  const { totalBytes } = seen[0]!;
  expect(totalBytes).toBe(file.header.tensors.reduce((sum, tensor) => sum + tensor.sizeBytes, 0));
  expect(seen.at(-1)!.loadedBytes).toBe(totalBytes);
  expect(seen.length).toBeGreaterThan(20);
});

test("a truncated file is refused as corrupt, its stream let go", async () => {
  await expect(loadBytes(MIXED.slice(0, -1000), "scalar")).rejects.toThrow(ModelError);
});

test("a model over the budget is refused before its weights are read", async () => {
  const source = memorySource(MIXED, "mixed");
  const file = await readGguf(source);
  const spec = specFromGguf(file.header, source.name);
  const options = { memoryBudgetBytes: 600_000 };
  let progressed = false;
  const onProgress = () => {
    progressed = true;
  };
  await expect(CpuBackend.load({ modules: kernelModules(), ...file, spec, options, onProgress })).rejects.toMatchObject(
    {
      kind: "over_budget",
    },
  );
  expect(progressed).toBe(false);
});

test("a spec of another file is refused", async () => {
  const { spec } = await tinyModel({ numLayers: 3 });
  const file = await readGguf(memorySource(tinyModelBytes({ numLayers: 2 }), "tiny"));
  await expect(CpuBackend.load({ modules: kernelModules(), ...file, spec })).rejects.toThrow(/lacks blk\.2\.attn_norm/);
});

test("a module that is no kernel module is refused", async () => {
  const empty = compile(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
  const file = await readGguf(memorySource(MIXED, "mixed"));
  const spec = specFromGguf(file.header, "mixed");
  await expect(CpuBackend.load({ modules: { scalar: empty }, ...file, spec })).rejects.toThrow(/ABI version null/);
});

test("a disposed backend says so", async () => {
  const backend = await loadBytes(MIXED, "scalar");
  backend.dispose();
  expect(() => logitsOf(backend)).toThrow(/disposed/);
});

test.each([
  ["f16", 0],
  ["i16", 16], // Scales of four tokens of a head.
] as const)("%s halves the KV pool and moves logits a little", async (kvPrecision, scaleBytes) => {
  const f32 = await loadBytes(MIXED, "relaxed", { kvPrecision: "f32" });
  const half = await loadBytes(MIXED, "relaxed", { kvPrecision });
  const [exact, rounded] = [logitsOf(f32), logitsOf(half)];
  const { headDim } = specFromGguf((await readGguf(memorySource(MIXED, "tiny"))).header, "tiny");
  const numGroups = f32.memory.kvBytes / (16 * headDim);
  expect(half.memory.kvBytes).toBe(f32.memory.kvBytes / 2 + numGroups * scaleBytes);
  expect(rounded).not.toEqual(exact);
  const error = exact.reduce((sum, value, i) => sum + (value - rounded[i]!) ** 2, 0);
  expect(error / exact.reduce((sum, value) => sum + value ** 2, 0)).toBeLessThan(2e-3);
});
