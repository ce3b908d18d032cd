/** What the LM head would read of a row, copied out. */
import { expect, test } from "vitest";
import type { RowOutput, StepSequence } from "../../src/serving/backend.ts";
import { referenceHidden } from "../support/reference-forward.ts";
import { blocks, type ContractHost, draw, rawLogits } from "./backend-subject.ts";

const embedding = (row: number): RowOutput => ({ ...rawLogits(row), wantLogits: false, wantEmbedding: true });

export function embeddingCases(here: ContractHost): void {
  const embeddings = async (sequences: StepSequence[]): Promise<Float32Array[]> => {
    const { rows } = await here.backend.step({ copies: [], sequences });
    const out = rows.flatMap((row) => (row.embedding === undefined ? [] : [row.embedding]));
    for (const row of out) expect(row.every(Number.isFinite)).toBe(true);
    return out;
  };
  const all = (tokens: number[], startPosition: number, blockTable: number[]): StepSequence => {
    return { tokens, startPosition, blockTable, outputs: tokens.map((_, row) => embedding(row)) };
  };

  test("embeddings agree with a float64 forward pass", async () => {
    const { model, tokens, subject, modelOptions } = here;
    const actual = await embeddings([all(tokens, 0, blocks(0))]);
    const expected = referenceHidden(model.spec, model.weights, tokens);
    let [error, energy, max] = [0, 0, 0];
    for (const [position, row] of expected.entries()) {
      expect(actual[position]).toHaveLength(row.length);
      for (const [i, value] of row.entries()) {
        const difference = actual[position]![i]! - value;
        error += difference ** 2;
        energy += value ** 2;
        max = Math.max(max, Math.abs(difference));
      }
    }
    if (modelOptions.weightType === undefined) expect(max).toBeLessThan(subject.tolerances.logits);
    else expect(error / energy).toBeLessThan(subject.tolerances.nmse);
  });

  test("embeddings do not depend on chunks, blocks or batch mates", async () => {
    const { tokens } = here;
    const whole = await embeddings([all(tokens, 0, blocks(0))]);
    const head = await embeddings([all(tokens.slice(0, 9), 0, [47, 3, 29])]);
    const mate = { tokens: [4, 5], startPosition: 0, blockTable: blocks(30, 2), outputs: [draw(1, {}, [1, 1])] };
    const rest = await embeddings([mate, all(tokens.slice(9), 9, [47, 3, 29, 11, 40, 8])]);
    expect([...head, ...rest]).toEqual(whole);
  });

  test("rows with logits and rows with embeddings share a step", async () => {
    const { backend, tokens } = here;
    const whole = await embeddings([all(tokens, 0, blocks(0))]);
    const of = async (outputs: RowOutput[]) => {
      const { rows } = await backend.step({
        copies: [],
        sequences: [{ tokens, startPosition: 0, blockTable: blocks(0), outputs }],
      });
      return rows;
    };
    const drawn = { ...draw(20, { temperature: 1 }, [1, 2]), numLogprobs: 2 };
    const [token, logits] = await of([drawn, rawLogits(7)]);
    const both: RowOutput = { ...rawLogits(7), wantEmbedding: true };
    const mixed = await of([embedding(3), drawn, embedding(7), both, embedding(20), rawLogits(7)]);
    expect(mixed.map((row) => row.embedding)).toEqual([whole[3], undefined, whole[7], whole[7], whole[20], undefined]);
    expect(mixed[1]).toEqual(token);
    expect([mixed[3]!.logits, mixed[5]!.logits]).toEqual([logits!.logits, logits!.logits]);
    expect(mixed[0]).toMatchObject({ token: -1, logprob: null, top: [], logits: null });
  });
}
