/** Logits: right, and the same however tokens are cut into steps, batches and blocks. What is refused, and crashes. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { BackendCrash, type StepSequence } from "../../src/serving/backend.ts";
import { referenceLogits } from "../support/reference-forward.ts";
import { blocks, type ContractHost, draw, rawLogits, sequence, stepLogits } from "./backend-subject.ts";

export function stepCases(here: ContractHost): void {
  test("says what it is and holds", () => {
    const { backend, model } = here;
    expect(backend.limits).toMatchObject({ vocabSize: model.spec.vocabSize, blockTokens: 4, numBlocks: 48 });
    expect(backend.limits.contextLength).toBeLessThanOrEqual(model.spec.contextLength);
    for (const bytes of Object.values(backend.memory)) expect(bytes).toBeGreaterThan(0);
  });

  test("logits agree with a float64 forward pass", async () => {
    const { backend, model, tokens, subject, modelOptions } = here;
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
    const { backend, tokens } = here;
    const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
    const head = await stepLogits(backend, [sequence(tokens.slice(0, length), 0, blocks(20))]);
    const rest = await stepLogits(backend, [sequence(tokens.slice(length), length, blocks(20))]);
    expect([...head, ...rest]).toEqual(whole);
  });

  test("token by token gives the logits of one chunk", async () => {
    const { backend, tokens } = here;
    const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
    for (const [position, token] of tokens.entries()) {
      const [logits] = await stepLogits(backend, [sequence([token], position, blocks(20))]);
      expect(logits).toEqual(whole[position]);
    }
  });

  test("physical blocks do not matter", async () => {
    const { backend, tokens } = here;
    const whole = await stepLogits(backend, [sequence(tokens, 0, blocks(0))]);
    const scattered = await stepLogits(backend, [sequence(tokens, 0, [47, 3, 29, 11, 40, 8])]);
    expect(scattered).toEqual(whole);
  });

  test("batch mates do not matter, prefill and decode mixed", async () => {
    const { backend, model, tokens } = here;
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
    const { backend, tokens } = here;
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
    const { backend, tokens } = here;
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
    const { backend, model, tokens, options, subject } = here;
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
    const { backend, tokens } = here;
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
    const { backend, tokens } = here;
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

  test("a refused batch changes nothing", async () => {
    const { backend, model, tokens } = here;
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
    const { backend, model, options, subject } = here;
    const doomed = await subject.make(model, options);
    const good = { copies: [], sequences: [sequence([1, 2], 0, [0])] };
    await doomed.step(good);
    expect(() => subject.crash(doomed)).toThrow(BackendCrash);
    await expect((async () => doomed.step(good))()).rejects.toThrow(BackendCrash);
    // Others are not touched.
    expect(await stepLogits(backend, good.sequences)).toHaveLength(2);
  });
}
