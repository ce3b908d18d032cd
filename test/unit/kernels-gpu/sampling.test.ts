/** The GPU sampler against one that sorts, draw by draw, and its parts. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adjust, candidates, candidateWorkgroups } from "../../../kernels-gpu/sampling/adjust.ts";
import { LOGPROB_WORDS, logprobs } from "../../../kernels-gpu/sampling/logprobs.ts";
import {
  encodeAdjustments,
  encodeOutput,
  NO_TOKEN,
  OUTPUT_WORDS,
  type OutputPlace,
} from "../../../kernels-gpu/sampling/outputs.ts";
import { referencePhilox, referenceSample } from "../../../kernels-gpu/sampling/reference.ts";
import { sample } from "../../../kernels-gpu/sampling/sample.ts";
import type { GpuDevice } from "../../../src/backends/gpu/device.ts";
import type { SamplingParams } from "../../../src/protocol/generate.ts";
import type { RowOutput } from "../../../src/serving/backend.ts";
import { normalSource } from "../../support/random.ts";
import { adjustedLogits, distribution, logSoftmax } from "../../support/reference-sampler.ts";
import { GREEDY } from "../../support/sampling.ts";
import { expectClose, openTestDevice, runForAll, runKernel } from "./harness.ts";

let device: GpuDevice;
beforeAll(async () => {
  device = await openTestDevice();
});
afterAll(() => device.destroy());

const VOCAB = 1003;

function rowOf(seed: number, vocab = VOCAB): Float32Array {
  const normal = normalSource(seed);
  return Float32Array.from({ length: vocab }, () => 2 * normal());
}

function wanted(params: Partial<SamplingParams>, counter = 0, more: Partial<RowOutput> = {}): RowOutput {
  const draw = { params: { ...GREEDY, ...params }, rngKey: [7, 9] as [number, number], rngCounter: counter };
  const sampled = { ...draw, promptTokens: [], outputTokens: [], allowed: null };
  return { row: 0, sample: sampled, scoreToken: null, numLogprobs: null, wantLogits: false, ...more };
}

interface Run {
  tokens: Uint32Array;
  slots: Uint32Array;
  candidates: Float32Array;
  outputs: Uint32Array;
}

/** Every output takes row i mod rows. */
async function run(
  rows: Float32Array[],
  wants: RowOutput[],
  options: { place?: Partial<OutputPlace>; masks?: Uint32Array; subgroups?: boolean } = {},
): Promise<Run> {
  const { place, masks = new Uint32Array(4), subgroups = false } = options;
  const vocabSize = rows[0]!.length;
  const outputs = new Uint32Array(wants.length * OUTPUT_WORDS);
  wants.forEach((want, i) => {
    const words = outputs.subarray(i * OUTPUT_WORDS, (i + 1) * OUTPUT_WORDS);
    encodeOutput(words, want, { logitRow: i % rows.length, maskStart: null, slot: null, ...place });
  });
  const logits = new Float32Array(rows.length * vocabSize);
  for (const [i, row] of rows.entries()) logits.set(row, i * vocabSize);
  const copied = await runKernel(
    device,
    candidates(vocabSize),
    { outputs, logits, masks, candidates: new Uint32Array(wants.length * vocabSize) },
    candidateWorkgroups(vocabSize, wants.length),
    "candidates",
  );
  const adjustments = Uint32Array.from(wants.flatMap((want, i) => encodeAdjustments(i, want)));
  const numAdjustments = adjustments.length / 4;
  const adjusted = await runKernel(
    device,
    adjust(vocabSize),
    {
      counts: Uint32Array.of(numAdjustments),
      outputs,
      adjustments: numAdjustments === 0 ? new Uint32Array(4) : adjustments,
      candidates: new Uint32Array(copied),
    },
    [Math.max(1, Math.ceil(numAdjustments / 64))],
    "candidates",
  );
  const out = await runForAll(
    device,
    sample({ vocabSize, subgroups }),
    {
      outputs,
      candidates: new Uint32Array(adjusted),
      tokens: new Uint32Array(wants.length),
      slots: new Uint32Array(4),
    },
    [wants.length],
    ["tokens", "slots"],
  );
  return {
    tokens: new Uint32Array(out.tokens),
    slots: new Uint32Array(out.slots),
    candidates: new Float32Array(adjusted),
    outputs,
  };
}

test("philox is philox", () => {
  // Known answers of the Random123 distribution.
  expect(referencePhilox([0, 0, 0, 0], [0, 0])).toEqual([0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8]);
  const ones = 0xffffffff;
  expect(referencePhilox([ones, ones, ones, ones], [ones, ones])).toEqual([
    0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd,
  ]);
});

const FILTERS: Record<string, Partial<SamplingParams>> = {
  "temperature alone": { temperature: 1 },
  "a high temperature": { temperature: 50 },
  "a low temperature": { temperature: 0.05 },
  "top-k": { temperature: 1.5, topK: 7 },
  "top-k of one": { temperature: 1.5, topK: 1 },
  "top-p": { temperature: 1, topP: 0.6 },
  "a tiny top-p": { temperature: 1, topP: 1e-6 },
  "min-p": { temperature: 1.2, minP: 0.1 },
  "all of them": { temperature: 1.3, topK: 40, topP: 0.9, minP: 0.02 },
};

describe.each([false, true])("subgroups %s", (subgroups) => {
  test.each(Object.entries(FILTERS))("%s draws what the sort draws", async (_, params) => {
    const rows = [rowOf(1), rowOf(2)];
    const wants = Array.from({ length: 12 }, (_, counter) => wanted(params, counter));
    const { tokens } = await run(rows, wants, { subgroups });
    const full = { ...GREEDY, ...params };
    const expected = wants.map((_, i) => referenceSample(rows[i % 2]!, full, [7, 9], i));
    expect(Array.from(tokens)).toEqual(expected);
    for (const [i, token] of tokens.entries()) expect(distribution(rows[i % 2]!, full)[token]).toBeGreaterThan(0);
  });
});

test("greedy takes the lowest id of the largest; without a sample nothing is drawn", async () => {
  const row = rowOf(3);
  row[500] = row[20] = 30;
  row[4] = Number.NaN;
  const { tokens } = await run([row], [wanted({}), wanted({ temperature: 1 }, 0, { sample: null })]);
  expect(Array.from(tokens)).toEqual([20, NO_TOKEN]);
});

test("equal weights are kept in the order of ids", async () => {
  const flat = new Float32Array(VOCAB).fill(1.5);
  const cases: Partial<SamplingParams>[] = [{ topK: 5 }, { topP: 0.01 }, { topK: 400, topP: 0.5 }, {}];
  const wants = cases.flatMap((params) => [0, 1, 2].map((counter) => wanted({ temperature: 1, ...params }, counter)));
  const { tokens } = await run([flat], wants);
  expect(Array.from(tokens)).toEqual(
    wants.map(({ sample: drawn }) => referenceSample(flat, drawn!.params, [7, 9], drawn!.rngCounter)),
  );
});

test("penalties and biases are those of their formulas", async () => {
  const row = rowOf(4);
  const params = {
    repetitionPenalty: 1.7,
    presencePenalty: 0.5,
    frequencyPenalty: 0.25,
    logitBias: [
      [3, 2.5],
      [9, -1],
    ],
  };
  const want = wanted(params as Partial<SamplingParams>);
  const [prompt, output] = [
    [3, 5, 5, 7],
    [5, 8, 8, 9],
  ];
  const sampled = { ...want.sample!, promptTokens: prompt, outputTokens: output };
  const result = await run([row], [{ ...want, sample: sampled }, wanted({})]);
  expectClose(result.candidates.subarray(0, VOCAB), adjustedLogits(row, sampled.params, prompt, output), 1e-6);
  expect(result.candidates.slice(VOCAB)).toEqual(row);
});

test("only allowed tokens are drawn, also against a bias, and the token is put into its slot", async () => {
  const masks = new Uint32Array(2 + Math.ceil(VOCAB / 32));
  for (const token of [31, 32, 900]) masks[2 + (token >> 5)]! |= 1 << (token & 31);
  const wants = [0, 1, 2, 3].map((counter) => wanted({ temperature: 100, logitBias: [[5, 90]] }, counter));
  const { tokens, slots } = await run([rowOf(5)], wants, { masks, place: { maskStart: 2, slot: 2 } });
  for (const token of tokens) expect([31, 32, 900]).toContain(token);
  expect(Array.from(slots)).toEqual([0, 0, expect.toSatisfy((token: number) => tokens.includes(token)), 0]);
});

test("a vocabulary of real size", async () => {
  const rows = [rowOf(6, 151_936)];
  const wants = Array.from({ length: 3 }, (_, counter) => wanted({ temperature: 1, topP: 0.9, topK: 200 }, counter));
  const { tokens } = await run(rows, wants);
  expect(Array.from(tokens)).toEqual(wants.map((want, i) => referenceSample(rows[0]!, want.sample!.params, [7, 9], i)));
});

test.each([false, true])(
  "log probabilities are of the raw logits, alternatives in order; subgroups %s",
  async (subgroups) => {
    const row = rowOf(7);
    row[100] = row[40] = 12;
    const wants = [wanted({}, 0, { numLogprobs: 20 }), wanted({}, 0, { sample: null, scoreToken: 17, numLogprobs: 2 })];
    const { outputs, tokens } = await run([row], wants);
    const words = await runKernel(
      device,
      logprobs({ vocabSize: VOCAB, subgroups }),
      { outputs, logits: row, tokens, logprobs: new Uint32Array(wants.length * LOGPROB_WORDS) },
      [wants.length],
      "logprobs",
    );
    const [ids, numbers] = [new Uint32Array(words), new Float32Array(words)];
    const expected = logSoftmax(row);
    expectClose([numbers[0]!, numbers[LOGPROB_WORDS]!], [expected[40]!, expected[17]!], 2e-6);
    const order = Array.from(row.keys()).sort((a, b) => row[b]! - row[a]! || a - b);
    expect([ids[1], ids[LOGPROB_WORDS + 1]]).toEqual([20, 2]);
    expect(Array.from({ length: 20 }, (_, i) => ids[2 + 2 * i])).toEqual(order.slice(0, 20));
    expectClose(
      Array.from({ length: 20 }, (_, i) => numbers[3 + 2 * i]!),
      order.slice(0, 20).map((token) => expected[token]!),
      2e-6,
    );
  },
);
