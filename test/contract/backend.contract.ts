/**
 * What every Backend must do, as `src/serving/backend.ts` says it: run on the scalar reference, SIMD128, relaxed SIMD and
 * WGSL alike. Models are tiny and random; logits are compared with a float64 forward pass, and everything that must not
 * matter (chunks, blocks, batch mates) is compared bit for bit.
 */

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SamplingParams } from "../../src/protocol/generate.ts";
import { type Backend, BackendCrash, type RowOutput, type StepSequence } from "../../src/serving/backend.ts";
import { u32 } from "../support/gguf-writer.ts";
import { argmax, referenceLogits } from "../support/reference-forward.ts";
import { adjustedLogits, logSoftmax } from "../support/reference-sampler.ts";
import { GREEDY } from "../support/sampling.ts";
import { K_QUANT_SHAPE, type TinyModel, type TinyModelOptions, tinyModel } from "../support/tiny-model.ts";

export interface ContractOptions {
  blockTokens: number;
  numBlocks: number;
  maxBatchTokens: number;
  maxBatchSequences: number;
  kvPrecision: "f32" | "f16" | "q8" | "i16";
}

export interface ContractSubject {
  name: string;
  make(model: TinyModel, options: ContractOptions): Promise<Backend>;
  /** Makes the engine crash for real; must throw what `step` throws then. */
  crash(backend: Backend): unknown;
  kvPrecision: ContractOptions["kvPrecision"];
  /** Run on these models alone. Default: all. */
  models?: readonly ContractModel[];
  tolerances: {
    /** Largest difference of a logit from float64, F32 weights. */
    logits: number;
    /** Σ(a−b)² / Σb² of the logits, quantised weights: int8 activations alone make about 1e-3 (llama.cpp's do too). */
    nmse: number;
    /** Largest difference of a log probability. */
    logprob: number;
  };
}

const OPTIONS: Omit<ContractOptions, "kvPrecision"> = {
  blockTokens: 4,
  numBlocks: 48,
  maxBatchTokens: 48,
  maxBatchSequences: 6,
};

const MODELS = {
  "F32, grouped queries, untied": { seed: 11, tied: false, ropeFreqs: true },
  "qwen2: biases": { seed: 21, architecture: "qwen2", numKvHeads: 1 },
  "qwen3: norms of heads, which are wider than the model": { seed: 22, architecture: "qwen3", headDim: 32 },
  "gemma3: local layers, norms after, GELU": { seed: 23, architecture: "gemma3", numLayers: 7, slidingWindow: 6 },
  "phi3: fused tensors, a partial rotation": {
    seed: 24,
    architecture: "phi3",
    tied: false,
    weightType: (tensor) => (tensor.includes("attn_qkv") ? "Q4_0" : "Q8_0"),
    metadata: { "phi3.rope.dimension_count": u32(12) },
  },
  "gpt2: LayerNorm, learned positions, an FFN without a gate": { seed: 25, architecture: "gpt2", numKvHeads: 4 },
  "mistral: a window in every layer, 3 queries a key, F16": {
    seed: 26,
    architecture: "mistral",
    numHeads: 6,
    headDim: 12,
    slidingWindow: 5,
    weightType: "F16",
  },
  "4 to 8 bits mixed": {
    seed: 12,
    weightType: (tensor) =>
      tensor.includes("token_embd")
        ? "Q8_0"
        : tensor.includes("attn_v")
          ? "Q5_1"
          : tensor.includes("attn_k")
            ? "Q4_1"
            : tensor.includes("ffn_down")
              ? "Q5_0"
              : "Q4_0",
  },
  "K-quants and halves": {
    seed: 13,
    ...K_QUANT_SHAPE,
    numLayers: 1,
    weightType: (tensor) =>
      tensor.includes("token_embd")
        ? "Q6_K"
        : tensor.includes("attn_v")
          ? "F16"
          : tensor.includes("attn_k")
            ? "BF16"
            : tensor.includes("ffn_down")
              ? "Q5_K"
              : "Q4_K",
  },
  "2 and 3 bits, codebooks": {
    seed: 14,
    ...K_QUANT_SHAPE,
    numLayers: 1,
    weightType: (tensor) =>
      tensor.includes("token_embd")
        ? "IQ4_XS"
        : tensor.includes("attn_v")
          ? "Q3_K"
          : tensor.includes("attn_k")
            ? "IQ4_NL"
            : tensor.includes("ffn_down")
              ? "Q3_K"
              : "Q2_K",
  },
} satisfies Record<string, TinyModelOptions>;

export type ContractModel = keyof typeof MODELS;

export { GREEDY as NEUTRAL };

export const rawLogits = (row: number): RowOutput => ({
  row,
  sample: null,
  scoreToken: null,
  numLogprobs: null,
  wantLogits: true,
});

export function draw(
  row: number,
  params: Partial<SamplingParams>,
  rngKey: [number, number],
  rngCounter = 0,
): RowOutput {
  const sample = { params: { ...GREEDY, ...params }, rngKey, rngCounter, promptTokens: [], outputTokens: [] };
  return { row, sample, scoreToken: null, numLogprobs: null, wantLogits: false };
}

/** One sequence with its logits wanted at every row. */
function sequence(tokens: number[], startPosition: number, blockTable: number[]): StepSequence {
  return { tokens, startPosition, blockTable, outputs: tokens.map((_, row) => rawLogits(row)) };
}

async function stepLogits(backend: Backend, sequences: StepSequence[]): Promise<Float32Array[]> {
  const { rows } = await backend.step({ copies: [], sequences });
  const logits = rows.map((row) => row.logits!);
  // NaN equals NaN to `toEqual`: without this, an engine of nothing but NaN would pass every comparison.
  for (const row of logits) expect(row.every(Number.isFinite)).toBe(true);
  return logits;
}

/** `count` blocks from `first` on. */
const blocks = (first: number, count = 12) => Array.from({ length: count }, (_, i) => first + i);

export function backendContract(subject: ContractSubject): void {
  const options = { ...OPTIONS, kvPrecision: subject.kvPrecision };
  const names = subject.models ?? (Object.keys(MODELS) as ContractModel[]);
  const models = names.map((name): [string, TinyModelOptions] => [name, MODELS[name]]);
  describe.each(models)(`${subject.name}, K and V in ${subject.kvPrecision}: %s`, (_, modelOptions) => {
    let model: TinyModel;
    let backend: Backend;
    let tokens: number[];

    beforeAll(async () => {
      model = await tinyModel(modelOptions);
      backend = await subject.make(model, options);
      tokens = Array.from({ length: 21 }, (_, i) => (i * 37 + 5) % model.spec.vocabSize);
    });
    afterAll(() => backend.dispose());

    test("says what it is and holds", () => {
      expect(backend.limits).toMatchObject({ vocabSize: model.spec.vocabSize, blockTokens: 4, numBlocks: 48 });
      expect(backend.limits.contextLength).toBeLessThanOrEqual(model.spec.contextLength);
      for (const bytes of Object.values(backend.memory)) expect(bytes).toBeGreaterThan(0);
    });

    test("logits agree with a float64 forward pass", async () => {
      const actual = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      const expected = referenceLogits(model.spec, model.weights, tokens);
      let [error, energy, max] = [0, 0, 0];
      expected.forEach((row, position) => {
        row.forEach((value, id) => {
          const difference = actual[position]![id]! - value;
          error += difference ** 2;
          energy += value ** 2;
          max = Math.max(max, Math.abs(difference));
        });
      });
      if (modelOptions.weightType === undefined) expect(max).toBeLessThan(subject.tolerances.logits);
      else expect(error / energy).toBeLessThan(subject.tolerances.nmse);
    });

    test.each([1, 3, 4, 5, 8, 9, 20])("a chunk of %i and the rest give the logits of one chunk", async (length) => {
      const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      const head = await stepLogits(backend, [sequence(tokens.slice(0, length), 0, blocks(20))]);
      const rest = await stepLogits(backend, [sequence(tokens.slice(length), length, blocks(20))]);
      expect([...head, ...rest]).toEqual(whole);
    });

    test("token by token gives the logits of one chunk", async () => {
      const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      for (const [position, token] of tokens.entries()) {
        const [logits] = await stepLogits(backend, [sequence([token], position, blocks(20))]);
        expect(logits).toEqual(whole[position]);
      }
    });

    test("physical blocks do not matter", async () => {
      const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      const scattered = await stepLogits(backend, [sequence(tokens, 0, [47, 3, 29, 11, 40, 8])]);
      expect(scattered).toEqual(whole);
    });

    test("batch mates do not matter, prefill and decode mixed", async () => {
      const mate = tokens.map((token) => (token + 100) % model.spec.vocabSize);
      const alone = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      const mateAlone = await stepLogits(backend, [sequence(mate, 0, blocks(8))]);
      await stepLogits(backend, [sequence(tokens.slice(0, 20), 0, blocks(16))]);
      await stepLogits(backend, [sequence(mate.slice(0, 6), 0, blocks(24))]);
      const together = await stepLogits(backend, [
        sequence(mate.slice(6), 6, blocks(24)),
        sequence(tokens.slice(20), 20, blocks(16)),
        sequence(tokens.slice(0, 7), 0, blocks(32)),
      ]);
      expect(together).toEqual([...mateAlone.slice(6), alone[20], ...alone.slice(0, 7)]);
    });

    test("a prefix may be shared, and read by two sequences of one step", async () => {
      const other = [...tokens.slice(0, 8), 9, 8, 7];
      const [alone, otherAlone] = [
        await stepLogits(backend, [sequence(tokens, 0, blocks(0))]),
        await stepLogits(backend, [sequence(other, 0, blocks(8))]),
      ];
      await stepLogits(backend, [sequence(tokens.slice(0, 8), 0, [20, 21])]);
      const together = await stepLogits(backend, [
        sequence(tokens.slice(8), 8, [20, 21, 22, 23, 24, 25]),
        sequence(other.slice(8), 8, [20, 21, 30]),
      ]);
      expect(together).toEqual([...alone.slice(8), ...otherAlone.slice(8)]);
    });

    test("a copied block continues apart from its origin", async () => {
      const other = [...tokens.slice(0, 6), 9, 8, 7];
      const alone = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      const otherAlone = await stepLogits(backend, [sequence(other, 0, blocks(8))]);
      await stepLogits(backend, [sequence(tokens.slice(0, 6), 0, [20, 21])]);
      const { rows } = await backend.step({
        copies: [
          { from: 21, to: 40 },
          { from: 40, to: 41 },
        ],
        sequences: [sequence(tokens.slice(6), 6, [20, 21, 22, 23, 24, 25]), sequence(other.slice(6), 6, [20, 41, 31])],
      });
      expect(rows.map((row) => row.logits)).toEqual([...alone.slice(6), ...otherAlone.slice(6)]);
    });

    test("a block that was read and written elsewhere, also in another backend, continues bit for bit", async () => {
      const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      await stepLogits(backend, [sequence(tokens.slice(0, 12), 0, [20, 21, 22])]);
      const kept = await Promise.all([20, 21, 22].map((block) => backend.readBlock(block)));
      // What was read is a copy: nothing that is written later shows in it.
      await stepLogits(backend, [sequence(tokens.slice(3, 15), 0, [20, 21, 22])]);
      const other = await subject.make(model, options);
      for (const reader of [backend, other]) {
        for (const [i, block] of [47, 0, 30].entries()) reader.writeBlock(block, kept[i]!);
        expect(await reader.readBlock(30)).toEqual(kept[2]);
        const rest = await stepLogits(reader, [sequence(tokens.slice(12), 12, [47, 0, 30, 1, 2, 3])]);
        expect(rest).toEqual(whole.slice(12));
      }
      other.dispose();
      for (const block of [-1, 48, 0.5]) expect(() => backend.readBlock(block)).toThrow(RangeError);
      expect(() => backend.writeBlock(48, kept[0]!)).toThrow(RangeError);
      for (const wrong of [kept[0]!.subarray(1), new Uint8Array(kept[0]!.length + 1)]) {
        expect(() => backend.writeBlock(30, wrong)).toThrow(RangeError);
      }
      expect(await backend.readBlock(30)).toEqual(kept[2]);
    });

    test("any schedule gives the logits of running alone", async () => {
      const prompts = [tokens, tokens.slice(3, 17).reverse(), tokens.slice(5, 10)];
      const alone: Float32Array[][] = [];
      for (const prompt of prompts) alone.push(await stepLogits(backend, [sequence(prompt, 0, blocks(0))]));
      const schedule = fc.record({
        order: fc.shuffledSubarray(blocks(0, 24), { minLength: 18, maxLength: 18 }),
        chunks: fc.array(fc.tuple(fc.nat(5), fc.nat(5), fc.nat(5)), { minLength: 40, maxLength: 40 }),
      });
      await fc.assert(
        fc.asyncProperty(schedule, async ({ order, chunks }) => {
          const tables = [order.slice(0, 6), order.slice(6, 12), order.slice(12, 18)];
          const done = [0, 0, 0];
          for (const sizes of [...chunks, [21, 21, 21]]) {
            const running = prompts.flatMap((prompt, i) => {
              const chunk = prompt.slice(done[i]!, done[i]! + sizes[i]!);
              return chunk.length === 0 ? [] : [{ i, chunk }];
            });
            if (running.length === 0) continue;
            const logits = await stepLogits(
              backend,
              running.map(({ i, chunk }) => sequence(chunk, done[i]!, tables[i]!)),
            );
            let row = 0;
            for (const { i, chunk } of running) {
              for (const _ of chunk) expect(logits[row++]).toEqual(alone[i]![done[i]!++]);
            }
          }
        }),
        { numRuns: 6, seed: 7 },
      );
    });

    test("only wanted rows are answered, in order, and a row may be named twice", async () => {
      const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      const wanted = (rows: number[]) => rows.map(rawLogits);
      const none = await backend.step({
        copies: [],
        sequences: [{ tokens: tokens.slice(0, 9), startPosition: 0, blockTable: blocks(20), outputs: [] }],
      });
      expect(none.rows).toEqual([]);
      const { rows } = await backend.step({
        copies: [],
        sequences: [
          { tokens: tokens.slice(9), startPosition: 9, blockTable: blocks(20), outputs: wanted([3, 11, 3]) },
          { tokens: tokens.slice(0, 2), startPosition: 0, blockTable: blocks(40, 2), outputs: wanted([1]) },
        ],
      });
      expect(rows.map((row) => row.logits)).toEqual([whole[12], whole[20], whole[12], whole[1]]);
    });

    test("greedy is the argmax of the logits, and reports no logprobs unless asked", async () => {
      const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      const outputs = tokens.map((_, row) => draw(row, {}, [1, 2]));
      const { rows } = await backend.step({
        copies: [],
        sequences: [{ tokens, startPosition: 0, blockTable: blocks(0), outputs }],
      });
      expect(rows).toEqual(whole.map((logits) => ({ token: argmax(logits), logprob: null, top: [], logits: null })));
    });

    test("logprobs are the log softmax of the raw logits, alternatives in order", async () => {
      const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      const outputs: RowOutput[] = [
        { ...rawLogits(20), wantLogits: false, scoreToken: 17, numLogprobs: 20 },
        { ...draw(20, { temperature: 5, logitBias: [[3, 4]] }, [5, 6]), numLogprobs: 0 },
        { ...rawLogits(7), wantLogits: false, numLogprobs: 3 },
      ];
      const { rows } = await backend.step({
        copies: [],
        sequences: [{ tokens, startPosition: 0, blockTable: blocks(0), outputs }],
      });
      const logprobs = logSoftmax(whole[20]!);
      const order = blocks(0, logprobs.length).sort((a, b) => logprobs[b]! - logprobs[a]! || a - b);
      expect(rows[0]!.token).toBe(-1);
      expect(Math.abs(rows[0]!.logprob! - logprobs[17]!)).toBeLessThan(subject.tolerances.logprob);
      expect(rows[0]!.top.map(({ token }) => token)).toEqual(order.slice(0, 20));
      for (const { token, logprob } of rows[0]!.top) {
        expect(Math.abs(logprob - logprobs[token]!)).toBeLessThan(subject.tolerances.logprob);
      }
      expect(Math.abs(rows[1]!.logprob! - logprobs[rows[1]!.token]!)).toBeLessThan(subject.tolerances.logprob);
      expect(rows[1]!.top).toEqual([]);
      expect(rows[2]!.logprob).toBeNull();
      expect(rows[2]!.top).toHaveLength(3);
    });

    test("a draw depends on key and counter alone", async () => {
      const params = { temperature: 1.5, topP: 0.95 };
      const outputs = Array.from({ length: 8 }, (_, counter) => draw(20, params, [123, 456], counter));
      const run = async (mates: StepSequence[]) => {
        const drawn = { tokens, startPosition: 0, blockTable: blocks(0), outputs };
        const { rows } = await backend.step({ copies: [], sequences: [...mates, drawn] });
        return rows.slice(-outputs.length).map(({ token }) => token);
      };
      const alone = await run([]);
      expect(new Set(alone).size).toBeGreaterThan(1);
      expect(await run([])).toEqual(alone);
      const mate = { tokens: [4, 5], startPosition: 0, blockTable: blocks(30, 2) };
      expect(await run([{ ...mate, outputs: [draw(1, params, [9, 9]), draw(0, params, [8, 8])] }])).toEqual(alone);
    });

    test("penalties and bias move the argmax as their formulas say", async () => {
      const [logits] = (await stepLogits(backend, [sequence(tokens, 0, blocks(0))])).slice(-1);
      const best = argmax(logits!);
      const cases: { params: Partial<SamplingParams>; prompt?: number[]; output?: number[] }[] = [
        { params: { repetitionPenalty: 1.8 }, prompt: [best, 1, best] },
        { params: { repetitionPenalty: 1.8 }, output: [best, best] },
        { params: { repetitionPenalty: 0.5 }, prompt: [2, 3], output: [4] },
        { params: { presencePenalty: 3 }, prompt: [best], output: [best, 7] },
        { params: { presencePenalty: 30 }, prompt: [best] },
        { params: { frequencyPenalty: 1.5 }, output: [best, 7, best, best] },
        { params: { repetitionPenalty: 1.3, presencePenalty: -2, frequencyPenalty: 0.5 }, output: [12, 13, 12] },
        { params: { logitBias: [[best, -50]] } },
        { params: { logitBias: [[42, 60]], repetitionPenalty: 3 }, output: [42] },
      ];
      for (const { params, prompt = [], output = [] } of cases) {
        const base = draw(20, params, [1, 1]);
        const sample = { ...base.sample!, promptTokens: prompt, outputTokens: output };
        const { rows } = await backend.step({
          copies: [],
          sequences: [{ tokens, startPosition: 0, blockTable: blocks(0), outputs: [{ ...base, sample }, base] }],
        });
        const expected = argmax(adjustedLogits(logits!, { ...GREEDY, ...params }, prompt, output));
        expect(rows[0]!.token, JSON.stringify(params)).toBe(expected);
        // A second output of the row starts from the raw logits again.
        expect(rows[1]!.token).toBe(argmax(adjustedLogits(logits!, { ...GREEDY, ...params }, [], [])));
      }
    });

    test("a refused batch changes nothing", async () => {
      const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
      await stepLogits(backend, [sequence(tokens.slice(0, 10), 0, blocks(20))]);
      const good = sequence(tokens.slice(10), 10, blocks(20));
      const bad: Record<string, StepSequence[]> = {
        "no tokens": [{ ...good, tokens: [], outputs: [] }],
        "a token outside the vocabulary": [{ ...good, tokens: [model.spec.vocabSize], outputs: [] }],
        "a negative token": [{ ...good, tokens: [-1], outputs: [] }],
        "a fractional token": [{ ...good, tokens: [1.5], outputs: [] }],
        "a block outside the pool": [{ ...good, blockTable: [...blocks(20, 2), 48, 49, 50, 51] }],
        "a negative block": [{ ...good, blockTable: [-1, ...blocks(21, 5)] }],
        "a short table": [{ ...good, blockTable: blocks(20, 5) }],
        "a position beyond the context": [{ ...good, startPosition: backend.limits.contextLength - 3 }],
        "a negative position": [{ ...good, startPosition: -1 }],
        "too many tokens": [good, ...[0, 4, 8].map((first) => sequence(tokens.slice(0, 16), 0, blocks(first)))],
        "too many sequences": blocks(0, 7).map((first) => sequence([1], 0, [first])),
        "an adapter that was not loaded": [{ ...good, adapter: 1 }],
        "an output of no row": [{ ...good, outputs: [rawLogits(11)] }],
        "a block written twice": [good, sequence([1], 0, [25])],
        "a block read while it is written": [good, sequence([1], 4, [25, 30])],
        "a scored token outside the vocabulary": [
          { ...good, outputs: [{ ...rawLogits(0), scoreToken: 100_000, numLogprobs: 1 }] },
        ],
        "too many alternatives": [{ ...good, outputs: [{ ...rawLogits(0), numLogprobs: 21 }] }],
        "a temperature below 0": [{ ...good, outputs: [draw(0, { temperature: -1 }, [0, 0])] }],
        "a temperature that is no number": [{ ...good, outputs: [draw(0, { temperature: Number.NaN }, [0, 0])] }],
        "topP of 0": [{ ...good, outputs: [draw(0, { topP: 0 }, [0, 0])] }],
        "a bias outside the vocabulary": [{ ...good, outputs: [draw(0, { logitBias: [[-5, 1]] }, [0, 0])] }],
      };
      for (const [name, sequences] of Object.entries(bad)) {
        const attempt = async () => backend.step({ copies: [], sequences });
        await expect(attempt(), name).rejects.toThrow(/batch was refused/);
        await expect(attempt(), name).rejects.not.toBeInstanceOf(BackendCrash);
      }
      const adapted = async () => backend.step({ copies: [], sequences: [{ ...good, adapter: 2 }] });
      await expect(adapted()).rejects.toThrow("sequence 0 names adapter 2; this backend has none");
      const badCopy = async () => backend.step({ copies: [{ from: 0, to: 48 }], sequences: [good] });
      await expect(badCopy()).rejects.toThrow(/batch was refused/);
      expect(await stepLogits(backend, [good])).toEqual(whole.slice(10));
    });

    test("a crash is a BackendCrash, then and ever after", async () => {
      const doomed = await subject.make(model, options);
      const good = { copies: [], sequences: [sequence([1, 2], 0, [0])] };
      await doomed.step(good);
      expect(() => subject.crash(doomed)).toThrow(BackendCrash);
      await expect((async () => doomed.step(good))()).rejects.toThrow(BackendCrash);
      // Others are not touched.
      expect(await stepLogits(backend, good.sequences)).toHaveLength(2);
    });
  });
}
