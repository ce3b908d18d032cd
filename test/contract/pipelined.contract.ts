/**
 * What a Backend must do that takes a second step before the first has answered (`limits.numStepsInFlight` is 2), and how
 * one that does not refuses. Results are those of one step at a time, bit for bit.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SamplingParams } from "../../src/protocol/generate.ts";
import {
  type Backend,
  BackendCrash,
  type MaybePromise,
  type RowOutput,
  type RowResult,
  type StepResult,
  type StepSequence,
} from "../../src/serving/backend.ts";
import { GREEDY } from "../support/sampling.ts";
import { type TinyModel, tinyModel } from "../support/tiny-model.ts";

export interface PipelinedSubject {
  name: string;
  make(model: TinyModel, options: typeof PIPELINED_OPTIONS): Promise<Backend>;
  /** Makes the engine crash for real, and throws. */
  crash(backend: Backend): unknown;
}

export const PIPELINED_OPTIONS = { blockTokens: 4, numBlocks: 48, maxBatchTokens: 48, maxBatchSequences: 6 };

const PROMPTS = [
  [5, 42, 79, 116, 21],
  [99, 3, 250],
  [17, 64, 8, 8, 120, 33, 7],
];

const PARAMS: Partial<SamplingParams>[] = [{}, { temperature: 1 }, { temperature: 0.7, topK: 20, topP: 0.9 }];

const NUM_STEPS = 7;

/** The token number `rngCounter` of a stream, with everything that a row can report. */
function draw(stream: number, rngCounter: number, row: number, params: Partial<SamplingParams> = {}): RowOutput {
  const sample = {
    params: { ...GREEDY, ...PARAMS[stream], ...params },
    rngKey: [stream, 77] as [number, number],
    rngCounter,
    promptTokens: [],
    outputTokens: [],
    allowed: null,
  };
  return { row, sample, scoreToken: null, numLogprobs: 3, wantLogits: true };
}

/** Four blocks for each stream, not in order. */
const tableOf = (stream: number, first = 0) => [2, 0, 3, 1].map((i) => first + 4 * stream + i);

function prompt(stream: number, table = tableOf(stream)): StepSequence {
  const tokens = PROMPTS[stream]!;
  return { tokens, startPosition: 0, blockTable: table, outputs: [draw(stream, 0, tokens.length - 1)] };
}

/** Its token number `counter` (1 is the second), behind one that is known or not. */
function decode(stream: number, counter: number, token: number | { follows: number }, table = tableOf(stream)) {
  return {
    tokens: [typeof token === "number" ? token : 0],
    follows: typeof token === "number" ? null : token.follows,
    startPosition: PROMPTS[stream]!.length + counter - 1,
    blockTable: table,
    outputs: [draw(stream, counter, 0)],
  };
}

const isBackward = (step: number) => step % 2 === 1;

/** Streams in an order that changes from step to step. */
const streamsOf = (step: number) => (isBackward(step) ? [2, 1, 0] : [0, 1, 2]);

export function pipelinedContract(subject: PipelinedSubject): void {
  describe(`${subject.name}: steps in flight`, () => {
    let model: TinyModel;
    let backend: Backend;
    let isPipelined: boolean;

    beforeAll(async () => {
      model = await tinyModel({ seed: 31 });
      backend = await subject.make(model, PIPELINED_OPTIONS);
      isPipelined = backend.limits.numStepsInFlight === 2;
    }, 120_000);

    afterAll(() => backend?.dispose());

    const step = (...sequences: StepSequence[]): MaybePromise<StepResult> => backend.step({ copies: [], sequences });

    /** All streams, each step behind the results of the one before. @returns rows by stream */
    async function oneAtATime(first = 0): Promise<RowResult[][]> {
      const rows: RowResult[][] = PROMPTS.map(() => []);
      for (let n = 0; n < NUM_STEPS; n++) {
        for (const stream of streamsOf(n)) {
          const table = tableOf(stream, first);
          const last = rows[stream]!.at(-1);
          const result = await step(last === undefined ? prompt(stream, table) : decode(stream, n, last.token, table));
          rows[stream]!.push(result.rows[0]!);
        }
      }
      return rows;
    }

    test("one that takes one step at a time refuses a token that is not known", async () => {
      if (isPipelined) return;
      await expect((async () => step({ ...prompt(0), follows: 0 }))()).rejects.toThrow("there is none");
    });

    test("a token that nobody has seen gives what the known one gives, to the last bit", async () => {
      if (!isPipelined) return;
      const wanted = await oneAtATime();
      const rows: RowResult[][] = PROMPTS.map(() => []);
      const inFlight: { streams: number[]; result: MaybePromise<StepResult> }[] = [];
      const land = async () => {
        const { streams, result } = inFlight.shift()!;
        for (const [i, row] of (await result).rows.entries()) rows[streams[i]!]!.push(row);
      };
      for (let n = 0; n < NUM_STEPS; n++) {
        const streams = streamsOf(n);
        const sequences = streams.map((stream) => {
          const table = tableOf(stream, 16);
          return n === 0
            ? prompt(stream, table)
            : decode(stream, n, { follows: streamsOf(n - 1).indexOf(stream) }, table);
        });
        inFlight.push({ streams, result: step(...sequences) });
        if (inFlight.length === 2) await land();
      }
      await land();
      expect(rows).toEqual(wanted);
      expect(new Set(rows.flat().map(({ token }) => token)).size).toBeGreaterThan(5);
    });

    test("the answers come in order", async () => {
      if (!isPipelined) return;
      const order: number[] = [];
      const steps = [step(prompt(0)), step(decode(0, 1, { follows: 0 }))];
      await Promise.all(steps.map(async (result, i) => order.push(i + 0 * (await result).rows.length)));
      expect(order).toEqual([0, 1]);
    });

    test("a batch is read before the call returns", async () => {
      if (!isPipelined) return;
      const wanted = await oneAtATime();
      const tokens = [...PROMPTS[0]!];
      const first = { ...prompt(0), tokens, outputs: [draw(0, 0, tokens.length - 1)] };
      const second = decode(0, 1, { follows: 0 });
      const batches = [[first], [second]];
      const results = batches.map((sequences) => {
        const result = step(...sequences);
        const [own] = sequences;
        (own!.tokens as number[]).fill(1);
        own!.startPosition = 40;
        own!.outputs[0]!.sample!.rngCounter = 99;
        own!.outputs.pop();
        sequences.pop();
        return result;
      });
      const rows = (await Promise.all(results)).map((result) => result.rows[0]!);
      expect(rows).toEqual(wanted[0]!.slice(0, 2));
    });

    test("pieces of a prompt follow each other, beside somebody's decodes", async () => {
      if (!isPipelined) return;
      const wanted = await oneAtATime();
      const tokens = PROMPTS[2]!;
      const table = tableOf(2, 16);
      const piece = (start: number, end: number): StepSequence => ({
        tokens: tokens.slice(start, end),
        startPosition: start,
        blockTable: table,
        outputs: end === tokens.length ? [draw(2, 0, end - start - 1)] : [],
      });
      const results = await Promise.all([
        step(piece(0, 2), prompt(0)),
        step(decode(0, 1, { follows: 1 }), piece(2, 5)),
        step(piece(5, 7), decode(0, 2, { follows: 0 })),
      ]);
      expect(results[2]!.rows).toEqual([wanted[2]![0], wanted[0]![2]]);
    });

    test("a block changes hands while a step that writes it is under way", async () => {
      if (!isPipelined) return;
      const wanted = await oneAtATime();
      const [, second, third] = [
        step(prompt(0, tableOf(0))),
        // Turns out to be for nothing: its blocks are the next stream's already.
        step(decode(0, 1, { follows: 0 }, tableOf(0))),
        step(prompt(1, tableOf(0))),
      ];
      expect((await second!).rows[0]).toEqual(wanted[0]![1]);
      expect((await third!).rows[0]).toEqual(wanted[1]![0]);
    });

    test("copies of a step see what the step before wrote", async () => {
      if (!isPipelined) return;
      const wanted = await oneAtATime();
      const table = tableOf(0);
      const copy = [table[0]!, 40, table[2]!, table[3]!];
      const first = step(prompt(0, table));
      const sequences = [decode(0, 1, { follows: 0 }, copy)];
      // Five tokens: the second block has the last of them.
      const second = backend.step({ copies: [{ from: table[1]!, to: 40 }], sequences });
      expect((await first).rows[0]).toEqual(wanted[0]![0]);
      expect((await second).rows[0]).toEqual(wanted[0]![1]);
    });

    test("more outputs than are computed together change nothing", async () => {
      if (!isPipelined) return;
      const wanted = await oneAtATime();
      const many = { ...prompt(0), outputs: Array.from({ length: 70 }, () => draw(0, 0, 4)) };
      const first = step(many, prompt(1));
      const second = step(decode(1, 1, { follows: 1 }), decode(0, 1, { follows: 0 }));
      const { rows } = await first;
      expect([rows.length, rows[69], rows[70]]).toEqual([71, wanted[0]![0], wanted[1]![0]]);
      expect((await second).rows).toEqual([wanted[1]![1], wanted[0]![1]]);
    });

    test("what cannot be followed is refused, and so is who follows it", async () => {
      if (!isPipelined) return;
      const refused = async (sequence: StepSequence, reason: string) => {
        await expect((async () => step(sequence))()).rejects.toThrow(reason);
      };
      const penalised = {
        ...decode(0, 1, { follows: 0 }),
        outputs: [draw(0, 1, 0, { presencePenalty: 1 })],
      };
      await step(prompt(0));
      await refused(decode(0, 1, { follows: 1 }), "follows sequence 1, which is not a whole number from 0 to 0");
      await refused(decode(0, 1, { follows: 0 }), "there is none");
      await step(prompt(0));
      await refused(penalised, "penalties behind a token that is not known");
      await step({ ...prompt(0), outputs: [] });
      await refused(decode(0, 1, { follows: 0 }), "draws nothing");
      const steps = [step({ ...prompt(0), startPosition: -1 }), step(decode(0, 1, { follows: 0 })), step(prompt(1))];
      const settled = await Promise.allSettled(steps);
      expect(settled.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled"]);
      expect(settled.some((one) => one.status === "rejected" && one.reason instanceof BackendCrash)).toBe(false);
    });

    test("a crash fails both steps under way", async () => {
      if (!isPipelined) return;
      const doomed = await subject.make(model, PIPELINED_OPTIONS);
      await doomed.step({ copies: [], sequences: [prompt(0)] });
      const steps = [
        doomed.step({ copies: [], sequences: [prompt(0)] }),
        doomed.step({ copies: [], sequences: [decode(0, 1, { follows: 0 })] }),
      ];
      const settled = Promise.allSettled(steps);
      expect(() => subject.crash(doomed)).toThrow(BackendCrash);
      for (const one of await settled)
        expect(one).toMatchObject({ status: "rejected", reason: expect.any(BackendCrash) });
      doomed.dispose();
    }, 120_000);
  });
}
