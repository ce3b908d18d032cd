/**
 * The kernels refuse what they cannot run even if the host's own checks were wrong: random damage to the words of a step
 * gives a rule number or a result, never a trap, and memory outside the step's own regions stays as it was.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { instantiateKernels, PAGE_BYTES } from "../../../src/backends/cpu/exports.ts";
import { KERNEL_SETS } from "../../../src/backends/cpu/kernel-set.ts";
import { planCpuMemory } from "../../../src/backends/cpu/memory-plan.ts";
import { writeDescriptor } from "../../../src/backends/cpu/model-descriptor.ts";
import { StepCodec, splitIntoCalls } from "../../../src/backends/cpu/step-encoding.ts";
import { loadWeights } from "../../../src/backends/cpu/weight-loader.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { specFromGguf } from "../../../src/model/spec-from-gguf.ts";
import type { StepBatch } from "../../../src/serving/backend.ts";
import { draw, rawLogits } from "../../contract/backend-subject.ts";
import { kernelModules } from "../../support/kernel-modules.ts";
import { tinyModelBytes } from "../../support/tiny-model.ts";

const BATCH: StepBatch = {
  copies: [{ from: 5, to: 6 }],
  sequences: [
    {
      tokens: [1, 2, 3],
      startPosition: 14,
      blockTable: [0, 1],
      outputs: [
        draw(2, { temperature: 0.9, topK: 3, repetitionPenalty: 1.2, logitBias: [[4, 1]] }, [1, 2]),
        rawLogits(0),
      ],
    },
    { tokens: [7], startPosition: 3, blockTable: [2], outputs: [{ ...draw(0, {}, [3, 4]), numLogprobs: 5 }] },
  ],
};

test.each(KERNEL_SETS)("%s: no word of a step makes the kernels trap or write elsewhere", async (set) => {
  const file = await readGguf(memorySource(tinyModelBytes({ numLayers: 1 }), "tiny"));
  const spec = specFromGguf(file.header, "tiny");
  const plan = planCpuMemory(spec, { numBlocks: 8, maxBatchTokens: 5, maxBatchSequences: 4 });
  const { addresses } = plan;
  const kernels = instantiateKernels(kernelModules([set])[set]!);
  kernels.memory.grow(plan.totalBytes / PAGE_BYTES);
  const buffer = kernels.memory.buffer as ArrayBuffer;
  writeDescriptor(buffer, spec, plan);
  await loadWeights(kernels, spec, plan, file);
  expect(kernels.check_model(addresses.model)).toBe(0);

  const codec = new StepCodec(
    buffer,
    { address: addresses.step, words: plan.stepWords },
    { address: addresses.results, rows: plan.maxLogitRows },
  );
  codec.encode(splitIntoCalls(BATCH, plan.maxLogitRows)[0]!, plan.blockTokens);
  const words = new Uint32Array(buffer, addresses.step, plan.stepWords);
  const sound = words.slice();
  expect(kernels.step(addresses.model)).toBe(0);
  const weights = () => new Uint8Array(buffer, addresses.model, addresses.kv - addresses.model);
  const beyond = () => new Uint8Array(buffer, plan.totalBytes);
  const before = { weights: weights().slice(), beyond: beyond().slice() };

  const numUsedWords = sound.findLastIndex((word) => word !== 0) + 1;
  const value = fc.oneof(fc.integer({ min: 0, max: 64 }), fc.nat(0xffffffff), fc.constantFrom(0xffffffff, 0x7fc00000));
  const damage = fc.array(fc.tuple(fc.nat(numUsedWords - 1), value), { minLength: 1, maxLength: 4 });
  const outcomes = new Map<number, number>();
  fc.assert(
    fc.property(damage, (changes) => {
      words.set(sound);
      for (const [at, word] of changes) words[at] = word;
      const rule = kernels.step(addresses.model);
      outcomes.set(rule, (outcomes.get(rule) ?? 0) + 1);
    }),
    { numRuns: 1500, seed: 3 },
  );
  expect(weights()).toEqual(before.weights);
  expect(beyond()).toEqual(before.beyond);
  // The damage reached the forward pass as well as most of the rules.
  expect(outcomes.get(0)).toBeGreaterThan(100);
  expect(outcomes.size).toBeGreaterThanOrEqual(7);
});

test("a damaged descriptor is refused by rule", async () => {
  const file = await readGguf(memorySource(tinyModelBytes({ numLayers: 1 }), "tiny"));
  await file.data.cancel();
  const spec = specFromGguf(file.header, "tiny");
  const plan = planCpuMemory(spec, { numBlocks: 8 });
  const kernels = instantiateKernels(kernelModules(["scalar"]).scalar!);
  kernels.memory.grow(plan.totalBytes / PAGE_BYTES);
  const buffer = kernels.memory.buffer as ArrayBuffer;
  const { model } = plan.addresses;
  const words = new Uint32Array(buffer, model, 64);
  const ruleWith = (at: number, word: number) => {
    writeDescriptor(buffer, spec, plan);
    words[at] = word;
    return kernels.check_model(model);
  };
  expect(ruleWith(0, 99)).toBe(-1);
  expect(ruleWith(2, 62)).toBe(1);
  expect(ruleWith(4, 3)).toBe(2);
  expect(ruleWith(10, 400)).toBe(3);
  expect(ruleWith(14, 0)).toBe(4);
  expect(ruleWith(17, 100_000)).toBe(5);
  expect(ruleWith(15, 1_000_000)).toBe(6);
  expect(ruleWith(25, 0x3fff_ffff)).toBe(7);
  expect(ruleWith(20, 0)).toBe(8);
  expect(ruleWith(27, 3)).toBe(3);
  expect(ruleWith(30, 99)).toBe(100);
  expect(ruleWith(33, 0xffff_ff00)).toBe(100);
  // A position embedding that is there, but of no shape; a layer that names a third rope table.
  expect(ruleWith(37, 1024)).toBe(101);
  expect(ruleWith(51, 2)).toBe(9);
});
