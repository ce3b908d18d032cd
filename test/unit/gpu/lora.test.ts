/**
 * Adapters on the GPU against float64 over merged weights, W + alpha / rank · B · A, and against themselves: who has one or
 * none does not depend on who else has which.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { GpuBackend } from "../../../src/backends/gpu/gpu-backend.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { loraFromGguf } from "../../../src/model/lora-from-gguf.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import type { StepSequence } from "../../../src/serving/backend.ts";
import { rawLogits } from "../../contract/backend-subject.ts";
import { referenceLogits } from "../../support/reference-forward.ts";
import { mergedWeights, type TinyLoraOptions, tinyLoraBytes } from "../../support/tiny-lora.ts";
import { type TinyModel, type TinyModelOptions, tinyModel } from "../../support/tiny-model.ts";

const OPTIONS = { blockTokens: 4, numBlocks: 32, maxBatchTokens: 32, maxBatchSequences: 4 };
const TOKENS = [5, 42, 79, 116, 21, 99, 3, 250, 17, 64];
/** Of a logit, as in the contract of backends: keys and values are f16. */
const TOLERANCE = 1e-2;
/** A software GPU compiles for seconds. */
const LOAD_TIMEOUT_MS = 60_000;

interface Subject {
  model: TinyModel;
  files: Uint8Array[];
  backend: GpuBackend;
}

async function load(modelOptions: TinyModelOptions, loras: TinyLoraOptions[]): Promise<Subject> {
  const model = await tinyModel(modelOptions);
  const files = loras.map((options) => tinyLoraBytes(model, options));
  const adapters = [];
  for (const bytes of files) {
    const file = await readGguf(memorySource(bytes, "lora"));
    adapters.push({ ...file, pairs: loraFromGguf(file.header, "lora", model.spec) });
  }
  const device = await GpuDevice.open({ software: true });
  const file = await readGguf(memorySource(model.bytes, "tiny"));
  const backend = await GpuBackend.load({ device, ...file, spec: model.spec, options: OPTIONS, adapters });
  return { model, files, backend };
}

function sequence(adapter: number, firstBlock: number, start = 0, end = TOKENS.length): StepSequence {
  return {
    tokens: TOKENS.slice(start, end),
    startPosition: start,
    blockTable: [firstBlock, firstBlock + 2, firstBlock + 1],
    adapter,
    outputs: TOKENS.slice(start, end).map((_, row) => rawLogits(row)),
  };
}

async function logits({ backend }: Subject, sequences: StepSequence[]): Promise<Float32Array[]> {
  const { rows } = await backend.step({ copies: [], sequences });
  return rows.map((row) => row.logits!);
}

async function expected({ model, files }: Subject, adapter: number): Promise<Float64Array[]> {
  const weights = adapter === 0 ? model.weights : await mergedWeights(model, files[adapter - 1]!);
  return referenceLogits(model.spec, weights, TOKENS);
}

function largestDifference(a: readonly ArrayLike<number>[], b: readonly ArrayLike<number>[]): number {
  let largest = 0;
  expect(a.length).toBe(b.length);
  for (const [i, row] of a.entries()) {
    for (let id = 0; id < row.length; id++) {
      const difference = Math.abs(row[id]! - b[i]![id]!);
      if (!(difference <= largest)) largest = difference;
    }
  }
  return largest;
}

const isAttention = (name: string) => name.includes("attn");

describe("three adapters of a llama", () => {
  let subject: Subject;
  beforeAll(async () => {
    subject = await load({ seed: 41 }, [
      { seed: 1, rank: 8 },
      { seed: 2, rank: 1, alpha: 2, type: "BF16", adapts: isAttention },
      { seed: 3, rank: 20, alpha: 30, type: "F16", adapts: (name) => name === "blk.1.ffn_gate.weight" },
    ]);
  }, LOAD_TIMEOUT_MS);
  afterAll(() => subject.backend.dispose());

  test("each gives the logits of the model it is merged into", async () => {
    const base = await expected(subject, 0);
    for (const adapter of [0, 1, 2, 3]) {
      const wanted = await expected(subject, adapter);
      expect(largestDifference(await logits(subject, [sequence(adapter, 0)]), wanted)).toBeLessThan(TOLERANCE);
      // What is compared is not the base again.
      if (adapter > 0) expect(largestDifference(base, wanted)).toBeGreaterThan(50 * TOLERANCE);
    }
  });

  test("a row has the same bits in every batch and however its prompt is cut", async () => {
    const alone = new Map<number, Float32Array[]>();
    for (const adapter of [0, 1, 2, 3]) alone.set(adapter, await logits(subject, [sequence(adapter, 0)]));
    const together = await logits(subject, [sequence(2, 9), sequence(0, 0), sequence(1, 3)]);
    expect(together).toEqual([2, 0, 1].flatMap((adapter) => alone.get(adapter)!));
    await logits(subject, [sequence(3, 0, 0, 4), sequence(1, 3, 0, 9), sequence(1, 6, 0, 9), sequence(0, 9, 0, 9)]);
    const decoded = await logits(subject, [
      sequence(0, 9, 9),
      sequence(1, 3, 9),
      sequence(3, 0, 4, 9),
      sequence(1, 6, 9),
    ]);
    const [none, one, three] = [0, 1, 3].map((adapter) => alone.get(adapter)!);
    expect(decoded).toEqual([none![9], one![9], ...three!.slice(4, 9), one![9]]);
  });

  test("without them in its step, a model has the bits of one that has none, and no more to run", async () => {
    const plain = await load({ seed: 41 }, []);
    expect(await logits(subject, [sequence(0, 0)])).toEqual(await logits(plain, [sequence(0, 0)]));
    const [own, bare] = [subject.backend.memory, plain.backend.memory];
    // Two layers of F32 A, and of B in units of 4 columns: what the first adapter has is the least.
    expect(own.weightsBytes - bare.weightsBytes).toBeGreaterThan(2 * 8 * (7 * 64 + 6 * 64) * 4);
    expect(own.scratchBytes).toBeGreaterThan(bare.scratchBytes);
    expect([subject.backend.limits.numAdapters, plain.backend.limits.numAdapters]).toEqual([3, 0]);
    plain.backend.dispose();
  });

  test("one that was not loaded is refused", async () => {
    await expect(logits(subject, [sequence(4, 0)])).rejects.toThrow(
      "sequence 0 names adapter 4, which is not a whole number from 0 to 3",
    );
  });
});

test("fused tensors: one pair for q, k and v, one for gate and up", async () => {
  const subject = await load({ seed: 42, architecture: "phi3", numLayers: 1 }, [{ seed: 4, rank: 6, type: "F16" }]);
  const found = await logits(subject, [sequence(1, 0)]);
  expect(largestDifference(found, await expected(subject, 1))).toBeLessThan(TOLERANCE);
  subject.backend.dispose();
});

test("biases, and a feed-forward layer without a gate", async () => {
  const subject = await load({ seed: 43, architecture: "gpt2", numKvHeads: 4, numLayers: 1 }, [{ seed: 5 }]);
  const found = await logits(subject, [sequence(1, 0), sequence(0, 4)]);
  const wanted = [...(await expected(subject, 1)), ...(await expected(subject, 0))];
  expect(largestDifference(found, wanted)).toBeLessThan(TOLERANCE);
  subject.backend.dispose();
});
