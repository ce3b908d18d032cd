/** Masks: what is not allowed is never drawn, and what is allowed is drawn as if the others had a logit of −∞. */
import { expect, test } from "vitest";
import type { SamplingParams } from "../../src/protocol/generate.ts";
import type { RowOutput, RowResult, StepSequence } from "../../src/serving/backend.ts";
import { allows, maskWords } from "../../src/serving/token-mask.ts";
import { argmax } from "../support/reference-forward.ts";
import { adjustedLogits, distribution } from "../support/reference-sampler.ts";
import { GREEDY } from "../support/sampling.ts";
import { blocks, type ContractHost, draw, rawLogits, stepLogits } from "./backend-subject.ts";

const LAST_ROW = 20;
const NUM_DRAWS = 256;

/** Draws for each set of parameters: greedy, every filter, and pushes towards what is not allowed. */
const paramsWith = (best: number): Record<string, Partial<SamplingParams>> => ({
  greedy: {},
  "greedy, biased": { logitBias: [[best, 100]] },
  "greedy, penalised": { repetitionPenalty: 5, presencePenalty: 2 },
  "temperature 1": { temperature: 1 },
  "a high temperature": { temperature: 50 },
  "temperature near the largest float": { temperature: 1e30 },
  "top-k": { temperature: 2, topK: 5 },
  "top-p": { temperature: 2, topP: 0.5 },
  "min-p": { temperature: 2, minP: 0.3 },
  "all filters, biased": { temperature: 3, topK: 20, topP: 0.9, minP: 0.01, logitBias: [[best, 100]] },
});

function maskOf(vocabSize: number, isAllowed: (token: number) => boolean): Uint32Array {
  const mask = new Uint32Array(maskWords(vocabSize));
  for (let token = 0; token < vocabSize; token++) if (isAllowed(token)) mask[token >> 5]! |= 1 << (token & 31);
  return mask;
}

function masked(output: RowOutput, allowed: Uint32Array | null): RowOutput {
  return { ...output, sample: { ...output.sample!, outputTokens: [7, 9, 7], allowed } };
}

const struck = (logits: ArrayLike<number>, mask: Uint32Array): Float64Array =>
  Float64Array.from(logits, (logit, token) => (allows(mask, token) ? logit : Number.NEGATIVE_INFINITY));

export function maskCases(here: ContractHost): void {
  const run = async (outputs: RowOutput[], mates: StepSequence[] = []): Promise<RowResult[]> => {
    const own = { tokens: here.tokens, startPosition: 0, blockTable: blocks(0), outputs };
    const { rows } = await here.backend.step({ copies: [], sequences: [...mates, own] });
    return rows.slice(-outputs.length);
  };
  const lastLogits = async (): Promise<Float32Array> => {
    const outputs = [rawLogits(LAST_ROW)];
    const own = { tokens: here.tokens, startPosition: 0, blockTable: blocks(0), outputs };
    return (await stepLogits(here.backend, [own]))[0]!;
  };

  test("nothing but allowed tokens is drawn, whatever pushes others", async () => {
    const { vocabSize } = here.model.spec;
    const best = argmax(await lastLogits());
    const masks = [
      maskOf(vocabSize, (token) => token !== best),
      maskOf(vocabSize, (token) => token % 3 === 1 && token !== best),
      maskOf(vocabSize, (token) => token === vocabSize - 1 || token === 0),
    ];
    const wanted = Object.entries(paramsWith(best)).flatMap(([name, params]) =>
      masks.map((mask, i) => ({ name, mask, output: masked(draw(LAST_ROW, params, [5, 6], i), mask) })),
    );
    const rows = await run(wanted.map(({ output }) => output));
    for (const [i, { name, mask }] of wanted.entries()) expect(allows(mask, rows[i]!.token), name).toBe(true);
  });

  test("greedy is the argmax of what is allowed, behind penalties and bias", async () => {
    const { vocabSize } = here.model.spec;
    const logits = await lastLogits();
    const mask = maskOf(vocabSize, (token) => token % 5 !== argmax(logits) % 5);
    for (const params of [{}, { repetitionPenalty: 2 }, { logitBias: [[11, 4]] as [number, number][] }]) {
      const adjusted = adjustedLogits(logits, { ...GREEDY, ...params }, [], [7, 9, 7]);
      const [row] = await run([masked(draw(LAST_ROW, params, [1, 1]), mask)]);
      expect(row!.token).toBe(argmax(struck(adjusted, mask)));
    }
  });

  test("a mask of one token draws it, also where its logit is −∞", async () => {
    const { vocabSize } = here.model.spec;
    for (const token of [0, 31, 32, vocabSize - 1]) {
      const mask = maskOf(vocabSize, (id) => id === token);
      const never: [number, number][] = [[token, Number.NEGATIVE_INFINITY]];
      const params = [{}, { temperature: 1 }, { logitBias: never }, { temperature: 1, logitBias: never }];
      const rows = await run(params.map((one) => masked(draw(LAST_ROW, one, [3, 4]), mask)));
      for (const row of rows) expect(row.token).toBe(token);
    }
  });

  test("draws follow the distribution of what is allowed", async () => {
    const { vocabSize } = here.model.spec;
    const mask = maskOf(vocabSize, (token) => token % 16 === 3);
    const params = { ...GREEDY, temperature: 2, topP: 0.95 };
    const expected = distribution(struck(await lastLogits(), mask), params);
    const counts = new Float64Array(vocabSize);
    const outputs = Array.from({ length: NUM_DRAWS }, (_, i) => masked(draw(LAST_ROW, params, [77, 1], i), mask));
    for (const { token } of await run(outputs)) counts[token]!++;
    for (const [token, probability] of expected.entries()) {
      const mean = probability * NUM_DRAWS;
      // Five standard deviations, with fixed keys: the same on every run.
      expect(Math.abs(counts[token]! - mean)).toBeLessThanOrEqual(5 * Math.sqrt(mean));
    }
  });

  test("a mask of all tokens is no mask, and logprobs stay those of the raw logits", async () => {
    const { vocabSize } = here.model.spec;
    const best = argmax(await lastLogits());
    const all = maskOf(vocabSize, () => true);
    // Bits that stand for no token mean nothing.
    all[all.length - 1] = 0xffffffff;
    const one = maskOf(vocabSize, (token) => token === 5);
    const outputs = Object.values(paramsWith(best)).map((params, i) => ({
      ...draw(LAST_ROW, params, [8, 9], i),
      numLogprobs: i === 0 ? 4 : null,
    }));
    const without = await run(outputs.map((output) => masked(output, null)));
    const within = await run([...outputs.map((output) => masked(output, all)), masked(outputs[0]!, one)]);
    expect(within.slice(0, -1)).toEqual(without);
    expect(within.at(-1)!.top).toEqual(without[0]!.top);
    const scored = { ...rawLogits(LAST_ROW), wantLogits: false, scoreToken: 5, numLogprobs: 0 };
    const [drawn, raw] = await run([{ ...masked(draw(LAST_ROW, {}, [1, 1]), one), numLogprobs: 0 }, scored]);
    expect(drawn!.logprob).toBe(raw!.logprob);
  });

  test("rows with a mask and rows without do not matter to each other", async () => {
    const { vocabSize } = here.model.spec;
    const mask = maskOf(vocabSize, (token) => token % 7 === 2);
    const params = { temperature: 1.5, topP: 0.9 };
    const drawn = [0, 1, 2, 3].map((counter) => draw(LAST_ROW, params, [12, 34], counter));
    const alone = await run(drawn.map((output) => masked(output, mask)));
    const free = await run(drawn.map((output) => masked(output, null)));
    const mixed = await run(drawn.flatMap((output) => [masked(output, null), masked(output, mask)]));
    expect(mixed.filter((_, i) => i % 2 === 1)).toEqual(alone);
    expect(mixed.filter((_, i) => i % 2 === 0)).toEqual(free);
    const other = maskOf(vocabSize, (token) => token === 1);
    const outputs = [masked(draw(1, params, [9, 9]), other), draw(0, params, [8, 8])];
    const mate = { tokens: [4, 5], startPosition: 0, blockTable: blocks(30, 2), outputs };
    expect(await run([masked(drawn[0]!, mask)], [mate])).toEqual(alone.slice(0, 1));
  });

  test("a mask of another size, or of nothing, is refused", async () => {
    const { vocabSize } = here.model.spec;
    const bad = [
      new Uint32Array(maskWords(vocabSize)),
      new Uint32Array(maskWords(vocabSize) + 1).fill(1),
      new Uint32Array(maskWords(vocabSize) - 1).fill(1),
    ];
    // Only bits behind the vocabulary.
    if (vocabSize % 32 !== 0) {
      const behind = new Uint32Array(maskWords(vocabSize));
      behind[behind.length - 1] = 1 << 31;
      bad.push(behind);
    }
    for (const mask of bad) {
      await expect(run([masked(draw(LAST_ROW, {}, [0, 0]), mask)])).rejects.toThrow(/batch was refused.*mask/);
    }
  });
}
