/** What becomes of logits: draws, penalties, log probabilities. */
import { expect, test } from "vitest";
import type { SamplingParams } from "../../src/protocol/generate.ts";
import type { RowOutput, StepSequence } from "../../src/serving/backend.ts";
import { argmax } from "../support/reference-forward.ts";
import { adjustedLogits, logSoftmax } from "../support/reference-sampler.ts";
import { GREEDY } from "../support/sampling.ts";
import { blocks, type ContractHost, draw, rawLogits, sequence, stepLogits } from "./backend-subject.ts";

export function outputCases(here: ContractHost): void {
  test("greedy is the argmax of the logits, and reports no logprobs unless asked", async () => {
    const { backend, tokens } = here;
    const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
    const outputs = tokens.map((_, row) => draw(row, {}, [1, 2]));
    const { rows } = await backend.step({
      copies: [],
      sequences: [{ tokens, startPosition: 0, blockTable: blocks(0), outputs }],
    });
    expect(rows).toEqual(whole.map((logits) => ({ token: argmax(logits), logprob: null, top: [], logits: null })));
  });

  test("logprobs are the log softmax of the raw logits, alternatives in order", async () => {
    const { backend, tokens, subject } = here;
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
    const { backend, tokens } = here;
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
    const { backend, tokens } = here;
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
}
