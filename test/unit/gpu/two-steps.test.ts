/** The engine over a software GPU: a second step in flight changes no text, and is submitted before the first is read. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { GpuBackend } from "../../../src/backends/gpu/gpu-backend.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import type { SamplingParams } from "../../../src/protocol/generate.ts";
import type { Backend, RowResult } from "../../../src/serving/backend.ts";
import { Engine } from "../../../src/serving/engine.ts";
import { Sequence } from "../../../src/serving/sequence.ts";
import { GREEDY } from "../../support/sampling.ts";
import { tinyModel } from "../../support/tiny-model.ts";

let gpu: GpuBackend;
beforeAll(async () => {
  const { bytes, spec } = await tinyModel({ seed: 31 });
  const file = await readGguf(memorySource(bytes, "tiny"));
  const device = await GpuDevice.open({ software: true });
  const options = { blockTokens: 4, numBlocks: 24, maxBatchTokens: 16, maxBatchSequences: 6 };
  gpu = await GpuBackend.load({ device, ...file, spec, options });
}, 120_000);
afterAll(() => gpu?.dispose());

interface Wish {
  maxTokens: number;
  sampling?: Partial<SamplingParams>;
  stopAfter?: number;
}

const WISHES: Wish[] = [
  { maxTokens: 24 },
  { maxTokens: 20, sampling: { temperature: 1 } },
  { maxTokens: 18, sampling: { temperature: 0.8, topP: 0.9 }, stopAfter: 7 },
  { maxTokens: 5 },
  { maxTokens: 12, sampling: { temperature: 1 } },
];
/** Arrives when the others are on their way, and takes the overlap from all. */
const PENALISED: Wish = { maxTokens: 6, sampling: { frequencyPenalty: 1 } };

async function run(numStepsInFlight: number) {
  let [numUnread, numOverlapped] = [0, 0];
  const backend: Backend = {
    name: gpu.name,
    limits: { ...gpu.limits, numStepsInFlight },
    memory: gpu.memory,
    async step(batch) {
      if (numUnread++ > 0) numOverlapped++;
      const result = await gpu.step(batch);
      numUnread--;
      return result;
    },
    readBlock: (block) => gpu.readBlock(block),
    writeBlock: (block, bytes) => gpu.writeBlock(block, bytes),
    dispose: () => {},
  };
  const faults: unknown[] = [];
  const onCrash = (error: Error) => {
    throw error;
  };
  const engine = new Engine({
    backend,
    limits: { numWaitingMax: 10 },
    onCrash,
    onFault: (error) => faults.push(error),
  });
  const rows: RowResult[][] = [];
  const sequenceOf = ({ maxTokens, sampling, stopAfter }: Wish, i: number) => {
    const own: RowResult[] = [];
    rows.push(own);
    return new Sequence({
      requestId: `r${i}`,
      promptTokens: Array.from({ length: 5 + 2 * i }, (_, at) => (17 * i + 31 * at + 3) % 300),
      maxTokens,
      sampling: { ...GREEDY, ...sampling },
      rngKey: [i, 5],
      numLogprobs: 2,
      scorePrompt: false,
      cacheSalt: "",
      listener: {
        admitted() {},
        promptScored() {},
        prefilled() {},
        token: (row) => own.push(row) === stopAfter,
        finished() {},
        failed: (error) => faults.push(error),
      },
    });
  };
  for (const [i, wish] of WISHES.entries()) engine.add([sequenceOf(wish, i)]);
  for (let step = 0; await engine.step(); step++) {
    engine.checkInvariants();
    if (step === 8) engine.add([sequenceOf(PENALISED, WISHES.length)]);
  }
  expect(faults).toEqual([]);
  expect(engine.stats.numFreeBlocks).toBe(24);
  return { rows, numOverlapped, stats: engine.stats };
}

test("texts and log probabilities are those of one step at a time, to the last bit", { timeout: 180_000 }, async () => {
  const [one, two] = [await run(1), await run(2)];
  expect(two.rows).toEqual(one.rows);
  expect(one.rows.map(({ length }) => length)).toEqual([24, 20, 7, 5, 12, 6]);
  expect([one.numOverlapped, one.stats.numStepsAhead]).toEqual([0, 0]);
  expect(two.numOverlapped).toBe(two.stats.numStepsAhead);
  expect(two.stats.numStepsAhead).toBeGreaterThan(8);
});
