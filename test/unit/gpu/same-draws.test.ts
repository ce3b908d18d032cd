/** A seed gives the same text on the GPU as on the CPU: one key, one generator, one order of filters. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { CpuBackend } from "../../../src/backends/cpu/cpu-backend.ts";
import { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { GpuBackend } from "../../../src/backends/gpu/gpu-backend.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import type { SamplingParams } from "../../../src/protocol/generate.ts";
import type { Backend } from "../../../src/serving/backend.ts";
import { choiceKey, seedLanes } from "../../../src/serving/rng-key.ts";
import { kernelModules } from "../../support/kernel-modules.ts";
import { GREEDY } from "../../support/sampling.ts";
import { tinyModel } from "../../support/tiny-model.ts";

const OPTIONS = {
  blockTokens: 4,
  numBlocks: 16,
  maxBatchTokens: 16,
  maxBatchSequences: 2,
  kvPrecision: "f16",
} as const;
const PROMPT = [5, 42, 79, 116, 21];
const NUM_TOKENS = 30;

let cpu: CpuBackend;
let gpu: GpuBackend;
beforeAll(async () => {
  const { bytes, spec } = await tinyModel({ seed: 31 });
  const file = () => readGguf(memorySource(bytes, "tiny"));
  cpu = await CpuBackend.load({ modules: kernelModules(), ...(await file()), spec, options: OPTIONS });
  const device = await GpuDevice.open({ software: true });
  gpu = await GpuBackend.load({ device, ...(await file()), spec, options: OPTIONS });
});
afterAll(() => {
  cpu.dispose();
  gpu.dispose();
});

/** Prefill, then token by token. */
async function generate(backend: Pick<Backend, "step">, params: SamplingParams, seed: number): Promise<number[]> {
  const rngKey = choiceKey(seedLanes(seed), 0);
  const blockTable = [3, 1, 4, 15, 9, 2, 6, 5, 8];
  const outputTokens: number[] = [];
  let tokens = PROMPT;
  let startPosition = 0;
  while (outputTokens.length < NUM_TOKENS) {
    const history = { promptTokens: PROMPT, outputTokens };
    const sample = { params, rngKey, rngCounter: outputTokens.length, ...history, allowed: null };
    const output = { row: tokens.length - 1, sample, scoreToken: null, numLogprobs: null, wantLogits: false };
    const { rows } = await backend.step({
      copies: [],
      sequences: [{ tokens, startPosition, blockTable, outputs: [output] }],
    });
    startPosition += tokens.length;
    tokens = [rows[0]!.token];
    outputTokens.push(rows[0]!.token);
  }
  return outputTokens;
}

const CASES: Record<string, Partial<SamplingParams>> = {
  greedy: {},
  "greedy with penalties": { repetitionPenalty: 1.2, frequencyPenalty: 0.3, logitBias: [[7, 2]] },
  temperature: { temperature: 0.8 },
  "top-p and top-k": { temperature: 1, topP: 0.9, topK: 40 },
  "min-p and presence": { temperature: 1.3, minP: 0.05, presencePenalty: 0.6 },
};

test.each(Object.entries(CASES))("%s", async (_, options) => {
  const params = { ...GREEDY, ...options };
  for (const seed of [1, 2024]) expect(await generate(gpu, params, seed)).toEqual(await generate(cpu, params, seed));
});
