/** Draws against the distribution they come from: chi-square with fixed keys, so the outcome is the same on every run. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { CpuBackend } from "../../../src/backends/cpu/cpu-backend.ts";
import { KERNEL_SETS } from "../../../src/backends/cpu/kernel-set.ts";
import { readGgufHeader } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import type { SamplingParams } from "../../../src/protocol/generate.ts";
import { draw, rawLogits } from "../../contract/backend-subject.ts";
import { distribution } from "../../support/reference-sampler.ts";
import { GREEDY } from "../../support/sampling.ts";
import { tinyModelBytes } from "../../support/tiny-model.ts";
import { loadBytes } from "./support.ts";

const NUM_DRAWS = 4096;
const BATCH = 64;
const PROMPT = [5, 17, 99, 3];

const CASES: Record<string, Partial<SamplingParams>> = {
  "temperature 1": { temperature: 1 },
  "temperature 0.3": { temperature: 0.3 },
  "temperature 3": { temperature: 3 },
  "top-k 5": { temperature: 2, topK: 5 },
  "top-k 1": { temperature: 2, topK: 1 },
  "top-k beyond the vocabulary": { temperature: 1, topK: 100_000 },
  "top-p 0.5": { temperature: 1.5, topP: 0.5 },
  "top-p 0.9": { temperature: 1.5, topP: 0.9 },
  "top-p so small that one token is left": { temperature: 1, topP: 1e-6 },
  "min-p 0.2": { temperature: 2, minP: 0.2 },
  "min-p 1": { temperature: 2, minP: 1 },
  "all filters": { temperature: 2, topK: 20, topP: 0.8, minP: 0.05 },
};

describe.each(KERNEL_SETS)("%s", (set) => {
  let backend: CpuBackend;
  let logits: Float32Array;

  beforeAll(async () => {
    backend = await loadBytes(tinyModelBytes({ seed: 21 }), set, { maxBatchSequences: BATCH, numBlocks: 4 });
    logits = (await drawRows([rawLogits(3)]))[0]!.logits!;
  });
  afterAll(() => backend.dispose());

  async function drawRows(outputs: Parameters<CpuBackend["step"]>[0]["sequences"][0]["outputs"]) {
    const sequences = [{ tokens: PROMPT, startPosition: 0, blockTable: [0], outputs }];
    return backend.step({ copies: [], sequences }).rows;
  }

  test.each(Object.entries(CASES))("%s: draws follow the distribution", async (_, params) => {
    const expected = distribution(logits, { ...GREEDY, ...params });
    const counts = new Float64Array(expected.length);
    for (let from = 0; from < NUM_DRAWS; from += BATCH) {
      const outputs = Array.from({ length: BATCH }, (_, i) => draw(3, params, [77, 1], from + i));
      for (const { token } of await drawRows(outputs)) counts[token]!++;
    }
    // Cells of fewer than 5 expected draws are joined, as the test's approximation asks.
    let [chiSquare, cells, restExpected, restCount] = [0, 0, 0, 0];
    const addCell = (mean: number, count: number) => {
      chiSquare += (count - mean) ** 2 / mean;
      cells++;
    };
    expected.forEach((probability, token) => {
      if (probability === 0) expect(counts[token], `token ${token} was filtered out`).toBe(0);
      else if (probability * NUM_DRAWS >= 5) addCell(probability * NUM_DRAWS, counts[token]!);
      else {
        restExpected += probability * NUM_DRAWS;
        restCount += counts[token]!;
      }
    });
    if (restExpected >= 5) addCell(restExpected, restCount);
    const freedom = Math.max(cells - 1, 1);
    // Mean + 4 standard deviations of chi-square, and a little for few degrees of freedom.
    expect(chiSquare).toBeLessThan(freedom + 4 * Math.sqrt(2 * freedom) + 4);
  });

  test("keys give independent streams, and one key its own again", async () => {
    const stream = async (key: [number, number]) => {
      const outputs = Array.from({ length: 32 }, (_, counter) => draw(3, { temperature: 3 }, key, counter));
      return (await drawRows(outputs)).map(({ token }) => token);
    };
    const [a, b, c] = [await stream([1, 0]), await stream([0, 1]), await stream([1, 0])];
    expect(a).toEqual(c);
    expect(a).not.toEqual(b);
  });

  test("a bias of −∞ takes a token out, whatever the temperature", async () => {
    const best = logits.indexOf(Math.max(...logits));
    const params = { temperature: 0.01, logitBias: [[best, Number.NEGATIVE_INFINITY]] as [number, number][] };
    const [row] = await drawRows([draw(3, params, [1, 1])]);
    const second = distribution(logits, { ...GREEDY, topK: 2, temperature: 1 }).findIndex(
      (p, i) => p > 0 && i !== best,
    );
    expect(row!.token).toBe(second);
  });
});

test.each(KERNEL_SETS)("%s: logits of nothing but NaN give a token and −∞, not a trap", async (set) => {
  const bytes = tinyModelBytes({ seed: 21 });
  const header = await readGgufHeader(memorySource(bytes, "broken"));
  const norm = header.tensors.find(({ name }) => name === "output_norm.weight")!;
  new DataView(bytes.buffer).setFloat32(header.dataOffsetBytes + norm.offsetBytes, Number.NaN, true);
  const backend = await loadBytes(bytes, set, { numBlocks: 4 });
  const outputs = [
    { ...draw(0, {}, [1, 1]), numLogprobs: 3 },
    draw(0, { temperature: 1 }, [1, 1]),
    draw(0, { temperature: 1, topK: 5, topP: 0.5, minP: 0.1, repetitionPenalty: 1.1 }, [1, 1]),
  ];
  const { rows } = backend.step({
    copies: [],
    sequences: [{ tokens: [1], startPosition: 0, blockTable: [0], outputs }],
  });
  expect(rows.map(({ token }) => token)).toEqual([0, 0, 0]);
  expect(rows[0]).toMatchObject({ logprob: Number.NEGATIVE_INFINITY, top: [] });
});

/** First two words of philox4x32-10 for an all-zero key and counter (Random123's kat_vectors). */
const KNOWN_ANSWER = [0x6627e8d5, 0xe169c58d] as const;

test.each(KERNEL_SETS)("%s: the generator is Philox4x32-10", async (set) => {
  const backend = await loadBytes(tinyModelBytes({ seed: 21 }), set, { numBlocks: 4 });
  const temperature = 1e4;
  const outputs = [draw(0, { temperature }, [0, 0], 0), rawLogits(0)];
  const sequences = [{ tokens: [1], startPosition: 0, blockTable: [0], outputs }];
  const [drawn, raw] = backend.step({ copies: [], sequences }).rows;
  const uniform = KNOWN_ANSWER[0] / 2 ** 32 + KNOWN_ANSWER[1] / 2 ** 64;
  const probabilities = distribution(raw!.logits!, { ...GREEDY, temperature });
  const below = (token: number) => probabilities.slice(0, token).reduce((sum, probability) => sum + probability, 0);
  expect(below(drawn!.token)).toBeLessThanOrEqual(uniform);
  expect(below(drawn!.token + 1)).toBeGreaterThan(uniform);
});
