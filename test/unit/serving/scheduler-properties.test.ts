/**
 * Random workloads on random machines. Whatever the budget, the pool, the batch mates, the cache and the preemptions:
 * every admitted sequence ends, and generates what it generates alone.
 */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { expected, type Job, job, Rig, tokensFrom } from "./harness.ts";
import { GREEDY, generateAlone } from "./hash-model.ts";
import { clientOf, expectAlone, machine, play, request, rigFor } from "./workload.ts";

// Seconds on an idle machine; a busy one must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

describe("random workloads", () => {
  it("end, free every block and give what each sequence gives alone", () => {
    let numPreemptions = 0;
    let numHitTokens = 0;
    fc.assert(
      fc.property(machine, fc.array(request, { minLength: 1, maxLength: 8 }), (settings, requests) => {
        const rig = rigFor(settings, requests);
        const clients = requests.map(clientOf);
        play(rig, clients);
        for (const client of clients) expectAlone(client);
        const { stats } = rig.engine;
        expect([stats.numRunning, stats.numWaiting, stats.numFreeBlocks]).toEqual([0, 0, stats.numBlocks]);
        expect(rig.faults).toEqual([]);
        numPreemptions += stats.numPreemptions;
        numHitTokens += stats.prefixHitTokens;
      }),
      { seed: 4, numRuns: 700 },
    );
    // The workloads reach what they are about.
    expect(numPreemptions).toBeGreaterThan(200);
    expect(numHitTokens).toBeGreaterThan(700);
  });

  it("advance every running sequence, and delay a decode by no more than one chunk", () => {
    fc.assert(
      fc.property(machine, fc.array(request, { minLength: 2, maxLength: 8 }), (settings, requests) => {
        const rig = rigFor({ ...settings, numSpareBlocks: 200 }, requests);
        const clients = requests.map((one) => clientOf({ ...one, abortAfter: null }));
        for (const { choices } of clients) rig.engine.add([choices[0]!.sequence]);
        const all = clients.flatMap(({ choices }) => choices);
        const isDecoding = ({ sequence }: Job) => sequence.status === "running" && sequence.numRemaining === 1;
        for (let numDecodes = 0; rig.step(); numDecodes = all.filter(isDecoding).length) {
          const sizes = rig.backend.stepSizes.at(-1)!;
          const numTokens = sizes.reduce((sum, size) => sum + size, 0);
          expect(numTokens).toBeLessThanOrEqual(settings.tokenBudget);
          // With room for all blocks every sequence that was decoding is in every batch, until it ends.
          expect(sizes.length).toBeGreaterThanOrEqual(numDecodes);
          expect(sizes.slice(0, numDecodes).every((size) => size === 1)).toBe(true);
          if (numDecodes > 0) expect(numTokens - numDecodes).toBeLessThanOrEqual(settings.prefillChunkTokens);
        }
        expect(rig.faults).toEqual([]);
        expect(rig.engine.stats.numPreemptions).toBe(0);
      }),
      { seed: 5, numRuns: 250 },
    );
  });
});

describe("preemption", () => {
  it("takes the latest first, and computes again only what the cache has lost", () => {
    // Two sequences of up to 12 + 8 tokens in a pool for one and a half.
    const rig = new Rig({ blockTokens: 4, numBlocks: 7 });
    const jobs = [job(tokensFrom(1, 9), 11), job(tokensFrom(2, 9), 11)];
    rig.run(...jobs);
    for (const one of jobs) expect(one.probe.tokens).toEqual(expected(one));
    expect(rig.engine.stats.numPreemptions).toBeGreaterThan(0);
    expect(jobs[0]!.probe.numAdmitted).toBe(1);
  });

  it("puts the preempted before those who wait", () => {
    const rig = new Rig({ blockTokens: 4, numBlocks: 7 });
    const ends: number[] = [];
    const jobs = [0, 1, 2].map((i) => {
      const one = job(tokensFrom(i, 9), 11);
      one.probe.finished = () => ends.push(i);
      return one;
    });
    rig.run(...jobs);
    expect(rig.engine.stats.numPreemptions).toBeGreaterThan(0);
    expect(ends).toEqual([0, 1, 2]);
  });

  it("lets more samples than places finish, each with its own text", () => {
    for (const numRunningMax of [1, 2, 3]) {
      const rig = new Rig({ blockTokens: 4, numBlocks: 6 }, { numRunningMax });
      const sampling = { ...GREEDY, temperature: 1 };
      const prompt = tokensFrom(3, 10);
      const siblings = [1, 2, 3, 4].map((i) => job(prompt, 9, { sampling, rngKey: [i, 7] }));
      const first = job(prompt, 9, { sampling, rngKey: [0, 7], siblings: siblings.map(({ sequence }) => sequence) });
      const ends: number[] = [];
      for (const [i, { probe }] of [first, ...siblings].entries()) probe.finished = () => ends.push(i);
      rig.run(first);
      expect(ends).toEqual([0, 1, 2, 3, 4]);
      for (const [i, { probe }] of [first, ...siblings].entries()) {
        const wanted = generateAlone(prompt, { numTokens: 9, vocabSize: 32, sampling, rngKey: [i, 7] });
        expect(probe.tokens).toEqual(wanted);
      }
      expect(new Set([first, ...siblings].map(({ probe }) => probe.tokens.join())).size).toBe(5);
    }
  });
});
