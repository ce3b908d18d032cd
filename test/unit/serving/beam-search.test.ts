/** Beam search in the engine: what it finds, and what it holds while it looks. */
import { describe, expect, it } from "vitest";
import { BackendCrash } from "../../../src/serving/backend.ts";
import { BeamJob } from "./beam-job.ts";
import { type BeamTask, searchAlone, searchExhaustively } from "./beam-truth.ts";
import { expected, job, Rig, tokensFrom } from "./harness.ts";
import { HashModelBackend } from "./hash-model.ts";

const VOCAB_SIZE = 32;

const task = (changes: Partial<BeamTask> = {}): BeamTask => ({
  prompt: tokensFrom(1, 9),
  width: 4,
  lengthPenalty: 1,
  maxTokens: 8,
  endTokens: [],
  vocabSize: VOCAB_SIZE,
  ...changes,
});

function search(rig: Rig, one: BeamTask, options: ConstructorParameters<typeof BeamJob>[1] = {}): BeamJob {
  const found = new BeamJob(one, options);
  rig.engine.add([found.group.root]);
  rig.drain();
  expect([found.error, found.numAdmitted, found.numPrefilled, found.numEnds]).toEqual([null, 1, 1, 1]);
  return found;
}

describe("a beam search", () => {
  it("of one beam is greedy decoding", () => {
    const one = job(tokensFrom(1, 9), 8);
    expect(search(new Rig(), task({ width: 1 })).beams[0]!.tokens).toEqual(expected(one));
  });

  it("that is as wide as the tree finds the best answers of all", () => {
    const small = { vocabSize: 4, maxTokens: 3, width: 27, endTokens: [2], prompt: [1, 0, 3] };
    for (const lengthPenalty of [-1, 0, 0.5, 1, 2]) {
      const one = task({ ...small, lengthPenalty });
      // No vocabulary of 4 has 54 candidates, so only the search itself is as wide as that.
      const truth = searchExhaustively(one);
      expect(searchAlone(one)).toEqual(truth);
      expect(truth[0]!.score).toBeGreaterThan(truth[1]!.score);
    }
    const wide = task({ prompt: tokensFrom(1, 9, 16), vocabSize: 16, width: 8, maxTokens: 1, endTokens: [3, 5] });
    expect(search(new Rig({ vocabSize: 16 }), wide).beams).toEqual(searchExhaustively(wide));
  });

  it("compares sums with a penalty of 0, and finds longer answers the higher it is", () => {
    const ends = Array.from({ length: 6 }, (_, i) => i * 5);
    const lengths = [-2, 0, 4].map((lengthPenalty) => {
      const one = task({ lengthPenalty, endTokens: ends, prompt: tokensFrom(6, 3) });
      const { beams } = search(new Rig(), one);
      expect(beams).toEqual(searchAlone(one));
      return beams.reduce((sum, { tokens }) => sum + tokens.length, 0);
    });
    expect(lengths).toEqual(lengths.toSorted((a, b) => a - b));
    expect(lengths[2]).toBeGreaterThan(lengths[0]!);
  });

  it("ends when no better answer can come, and with `stopsEarly` when enough are complete", () => {
    const one = task({ endTokens: Array.from({ length: 12 }, (_, i) => i), maxTokens: 40, lengthPenalty: 0 });
    const [whole, early] = [new Rig({ numBlocks: 400 }), new Rig({ numBlocks: 400 })];
    expect(search(whole, one).beams).toEqual(searchAlone(one));
    const { beams } = search(early, one, { stopsEarly: true });
    expect(beams.every(({ reason }) => reason === "stop")).toBe(true);
    expect(early.engine.stats.numSteps).toBeLessThan(whole.engine.stats.numSteps);
    expect(whole.engine.stats.numSteps).toBeLessThan(20);
  });

  it("reports as many alternatives as were asked for", () => {
    for (const [numLogprobs, width] of [
      [0, 2],
      [1, 2],
      [7, 2],
    ] as const) {
      const { group } = search(new Rig(), task({ width }), { numLogprobs });
      for (const { rows } of group.results()) {
        expect(new Set(rows.map(({ top }) => top.length))).toEqual(new Set([numLogprobs]));
      }
    }
  });
});

describe("the blocks of a beam search", () => {
  /** Owners of each block, by the tables of those who run. */
  function owners(rig: Rig, found: BeamJob): number[] {
    const counts = new Map<number, number>();
    for (const { table } of found.group.live) for (const b of table!.view) counts.set(b, (counts.get(b) ?? 0) + 1);
    expect(rig.engine.stats.numBlocks - rig.numFree).toBe(counts.size);
    return [...counts.values()];
  }

  it("are shared as far as the beams are equal, and all free at the end", () => {
    const rig = new Rig({ blockTokens: 4, numBlocks: 64 });
    const one = task({ prompt: tokensFrom(3, 22), width: 4, maxTokens: 12 });
    const found = new BeamJob(one);
    rig.engine.add([found.group.root]);
    rig.step();
    // Four tables over the six blocks of the prompt: a fork takes none.
    expect(owners(rig, found)).toEqual([4, 4, 4, 4, 4, 4]);
    let numMost = 0;
    while (found.numEnds === 0) {
      rig.step();
      if (found.numEnds > 0) break;
      const counts = owners(rig, found);
      expect(counts.filter((count) => count === 4).length).toBeGreaterThanOrEqual(5);
      numMost = Math.max(numMost, counts.length);
    }
    // Five of the prompt once, and what is behind it for each beam: 14 tokens of 12 + 2.
    expect(numMost).toBeLessThanOrEqual(
      found.group.numBlocksMax({ blockTokens: 4, numBlocksFor: (n) => Math.ceil(n / 4) }),
    );
    expect(found.beams).toEqual(searchAlone(one));
    expect(rig.numFree).toBe(64);
    // The prompt was computed once, and then each step has a token for each beam.
    const [prompt, ...steps] = rig.backend.stepSizes;
    expect(prompt).toEqual([22]);
    expect(steps.every((sizes) => sizes.every((size) => size === 1) && sizes.length <= 4)).toBe(true);
    expect(steps).toHaveLength(11);
  });

  it("are enough where the pool has just what a search can need", () => {
    for (const blockTokens of [1, 2, 3, 4]) {
      const one = task({ prompt: tokensFrom(2, 7), width: 3, maxTokens: 6 });
      const numBlocks = new BeamJob(one).group.numBlocksMax({
        blockTokens,
        numBlocksFor: (numTokens) => Math.ceil(numTokens / blockTokens),
      });
      const rig = new Rig({ blockTokens, numBlocks });
      expect(search(rig, one).beams).toEqual(searchAlone(one));
      expect([rig.numFree, rig.engine.stats.numPreemptions]).toEqual([numBlocks, 0]);
      const tooSmall = new Rig({ blockTokens, numBlocks: numBlocks - 1 });
      expect(() => tooSmall.engine.add([new BeamJob(one).group.root])).toThrow(`needs ${numBlocks} KV blocks`);
    }
  });

  it("are free after an abort at any time, also while a step is under way", async () => {
    for (let numSteps = 0; numSteps < 6; numSteps++) {
      const rig = new Rig();
      const found = new BeamJob(task());
      rig.engine.add([found.group.root]);
      for (let i = 0; i < numSteps; i++) rig.step();
      rig.backend.isAsynchronous = true;
      const step = rig.engine.step();
      rig.engine.abort(found.group.root);
      expect(rig.numFree).toBe(64);
      await step;
      rig.engine.checkInvariants();
      expect([found.error, found.numEnds, rig.engine.stats.numRunning]).toEqual([null, 0, 0]);
    }
  });
});

describe("beside others", () => {
  it("a search waits until there is a place for each beam", () => {
    const rig = new Rig({}, { numRunningMax: 4 });
    const before = job(tokensFrom(4, 5), 6);
    const found = new BeamJob(task({ width: 4 }));
    const after = job(tokensFrom(5, 5), 6);
    for (const one of [before.sequence, found.group.root, after.sequence]) rig.engine.add([one]);
    for (let i = 0; i < 5; i++) rig.step();
    expect([rig.engine.stats.numRunning, rig.engine.stats.numWaiting]).toEqual([1, 2]);
    rig.drain();
    expect(found.beams).toEqual(searchAlone(task({ width: 4 })));
    expect([before.probe.tokens, after.probe.tokens]).toEqual([expected(before), expected(after)]);
  });

  it("a preempted search begins again, and finds the same", () => {
    const one = task({ prompt: tokensFrom(7, 4), width: 4, maxTokens: 10 });
    const rig = new Rig({ blockTokens: 2, numBlocks: 23 });
    const first = job(tokensFrom(8, 20), 20);
    const found = new BeamJob(one);
    rig.engine.add([first.sequence]);
    rig.engine.add([found.group.root]);
    rig.drain();
    expect(rig.engine.stats.numPreemptions).toBeGreaterThan(0);
    expect(first.probe.tokens).toEqual(expected(first));
    expect(found.beams).toEqual(searchAlone(one));
    expect([found.numAdmitted, found.numPrefilled, found.numEnds, rig.numFree]).toEqual([1, 1, 1, 23]);
  });

  it("a search outlives lost backends, but not when it is what brings them down", () => {
    const rig = new Rig();
    const found = new BeamJob(task());
    const other = job(tokensFrom(9, 5), 30);
    rig.engine.add([found.group.root]);
    rig.engine.add([other.sequence]);
    const crash = (): void => {
      rig.backend.nextError = new BackendCrash("gone");
      rig.step();
      // It begins with empty blocks: whatever was believed to be there would be read as nothing.
      rig.backend.poison(Array.from({ length: 64 }, (_, block) => block));
      rig.engine.replaceBackend(Object.assign(new HashModelBackend(), { step: rig.backend.step.bind(rig.backend) }));
    };
    for (let i = 0; i < 4; i++) rig.step();
    crash();
    rig.drain();
    expect(found.beams).toEqual(searchAlone(task()));
    expect(other.probe.tokens).toEqual(expected(other));

    const culprit = new BeamJob(task());
    rig.engine.add([culprit.group.root]);
    for (let i = 0; culprit.error === null && i < 10; i++) {
      rig.step();
      rig.step();
      crash();
    }
    expect(culprit.error).toBeInstanceOf(BackendCrash);
    expect(rig.numFree).toBe(64);
  });

  it("a refused batch fails a search once", () => {
    const rig = new Rig();
    const found = new BeamJob(task());
    rig.engine.add([found.group.root]);
    rig.step();
    rig.step();
    rig.backend.nextError = new Error("refused");
    rig.drain();
    expect([(found.error as Error).message, found.numEnds, rig.numFree]).toEqual(["refused", 0, 64]);
  });
});
