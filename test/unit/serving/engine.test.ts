import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ApiError } from "../../../src/protocol/errors.ts";
import { BackendCrash, type StepResult } from "../../../src/serving/backend.ts";
import { expected, type Job, job, Rig, tokensFrom } from "./harness.ts";
import { HashModelBackend } from "./hash-model.ts";

function expectDone(jobs: readonly Job[]): void {
  for (const one of jobs) {
    expect(one.probe.error).toBeNull();
    expect(one.probe.tokens).toEqual(expected(one));
  }
}

describe("the queue", () => {
  it("takes what can run and what may wait, and refuses the next with 429", () => {
    const rig = new Rig({}, { numRunningMax: 2, numWaitingMax: 3 });
    const jobs = Array.from({ length: 5 }, (_, i) => job(tokensFrom(i, 5), 4));
    for (const { sequence } of jobs) rig.engine.add([sequence]);
    const late = job(tokensFrom(9, 5), 4);
    expect(() => rig.engine.add([late.sequence])).toThrow(ApiError);
    rig.step();
    expect([rig.engine.stats.numRunning, rig.engine.stats.numWaiting]).toEqual([2, 3]);
    expect(() => rig.engine.add([late.sequence])).toThrow("3 requests are waiting and the limit is 3");
    rig.engine.abort(jobs[3]!.sequence);
    rig.engine.add([late.sequence]);
    rig.drain();
    expectDone([...jobs.toSpliced(3, 1), late]);
    expect(jobs[3]!.probe.tokens).toEqual([]);
  });

  it("takes all sequences of a request or none", () => {
    const rig = new Rig({ numBlocks: 4, blockTokens: 4 }, { numRunningMax: 2, numWaitingMax: 2 });
    const five = Array.from({ length: 5 }, (_, i) => job(tokensFrom(i, 5), 4).sequence);
    expect(() => rig.engine.add(five)).toThrow(ApiError);
    expect(() => rig.engine.add([five[0]!, job(tokensFrom(1, 5), 100).sequence])).toThrow("needs 27 KV blocks");
    expect(rig.engine.stats.numWaiting).toBe(0);
  });
});

describe("an abort", () => {
  it("before the prompt is computed ends the siblings too, and afterwards only its own sequence", () => {
    for (const numSteps of [0, 1, 2, 3]) {
      const rig = new Rig({ numBlocks: 16 }, { tokenBudget: 3 });
      const sibling = job(tokensFrom(1, 6), 4, { rngKey: [1, 1] });
      const first = job(tokensFrom(1, 6), 4, { siblings: [sibling.sequence] });
      rig.engine.add([first.sequence]);
      for (let i = 0; i < numSteps; i++) rig.step();
      rig.engine.abort(first.sequence);
      expect(first.sequence.status).toBe("finished");
      expect(sibling.sequence.status).toBe(numSteps < 2 ? "finished" : "running");
      rig.drain();
      expect(sibling.probe.tokens).toEqual(numSteps < 2 ? [] : expected(sibling));
      expect(rig.numFree).toBe(16);
    }
  });
});

describe("a fault", () => {
  it("of one batch fails its sequences only", () => {
    const rig = new Rig({ numBlocks: 16 }, { numRunningMax: 2 });
    const jobs = Array.from({ length: 4 }, (_, i) => job(tokensFrom(i, 6), 5));
    for (const { sequence } of jobs) rig.engine.add([sequence]);
    rig.step();
    rig.backend.nextError = new Error("refused");
    rig.drain();
    expect(jobs.map(({ probe }) => (probe.error as Error | null)?.message)).toEqual([
      "refused",
      "refused",
      undefined,
      undefined,
    ]);
    expectDone(jobs.slice(2));
    expect([rig.faults.length, rig.crashes.length, rig.numFree]).toEqual([1, 0, 16]);
  });

  it("that loses the backend costs nobody a token, and forgets every cached block", async () => {
    const rig = new Rig({ numBlocks: 16 }, { numRunningMax: 2 });
    const early = job(tokensFrom(1, 9), 3);
    rig.run(early);
    expect(rig.engine.stats.numCachedBlocks).toBe(3);
    const jobs = [tokensFrom(1, 9), tokensFrom(2, 9), tokensFrom(1, 9), tokensFrom(2, 9)].map((p) => job(p, 4));
    for (const { sequence } of jobs) rig.engine.add([sequence]);
    rig.step();
    rig.backend.nextError = new BackendCrash("unreachable executed");
    rig.step();
    expect([rig.engine.stats.numRunning, rig.engine.stats.numWaiting]).toEqual([0, 4]);
    expect([rig.engine.isAlive, rig.crashes.length, rig.engine.stats.numCachedBlocks]).toEqual([false, 1, 0]);
    expect(rig.step()).toBe(false);
    const late = job(tokensFrom(3, 9), 4);
    rig.engine.add([late.sequence]);

    let isRevived = false;
    const revival = rig.engine.whenAlive().then(() => {
      isRevived = true;
    });
    expect(() => rig.engine.replaceBackend(new HashModelBackend({ numBlocks: 8 }))).toThrow(
      "The new backend has numBlocks = 8, the lost one had 16.",
    );
    // The new backend's memory is empty: a cached block that survived would be read as nothing.
    rig.engine.replaceBackend(new HashModelBackend({ numBlocks: 16 }));
    await revival;
    expect(isRevived).toBe(true);
    expect(() => rig.engine.replaceBackend(rig.backend)).toThrow("only a lost one");
    rig.drain();
    expectDone([...jobs, late]);
    expect(rig.numFree).toBe(16);
  });

  it("that loses the backend at random moments changes no token and leaks no block", () => {
    const life = fc.record({
      prompt: fc.array(fc.nat(3), { minLength: 1, maxLength: 14 }),
      maxTokens: fc.integer({ min: 1, max: 10 }),
      arriveAt: fc.nat(12),
    });
    fc.assert(
      fc.property(
        fc.array(life, { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat(40), { maxLength: 4 }),
        fc.integer({ min: 1, max: 12 }),
        (lives, crashesAt, tokenBudget) => {
          const rig = new Rig({ numBlocks: 9, blockTokens: 3 }, { tokenBudget });
          const jobs = lives.map(({ prompt, maxTokens }) => job(prompt, maxTokens));
          for (let step = 0; step < 2000; step++) {
            for (const [i, { arriveAt }] of lives.entries()) if (arriveAt === step) rig.engine.add([jobs[i]!.sequence]);
            rig.backend.nextError = crashesAt.includes(step) ? new BackendCrash("by chance") : null;
            rig.step();
            if (rig.engine.isAlive) continue;
            rig.backend.poison(Array.from({ length: 9 }, (_, block) => block));
            rig.engine.replaceBackend(rig.backend);
          }
          expectDone(jobs);
          expect(rig.numFree).toBe(9);
        },
      ),
    );
  });

  it("that one sequence brings about every time fails that one only, after as many engines as are stated", () => {
    const rig = new Rig({ numBlocks: 32 });
    const jobs = Array.from({ length: 4 }, (_, i) => job(tokensFrom(i + 1, 6), 8));
    const poison = jobs[2]!.sequence.promptTokens;
    rig.backend.onStep = ({ sequences }) => {
      const isPoisoned = sequences.some(({ tokens }) => poison.every((token, i) => tokens[i] === token));
      if (isPoisoned) throw new BackendCrash("poisoned");
    };
    for (const { sequence } of jobs) rig.engine.add([sequence]);
    for (let i = 0; i < 200; i++) {
      if (!rig.engine.isAlive) rig.engine.replaceBackend(rig.backend);
      rig.step();
    }
    expect(rig.crashes).toHaveLength(5);
    expect(jobs[2]!.probe.error).toBe(rig.crashes[4]);
    expectDone(jobs.toSpliced(2, 1));
    expect(rig.numFree).toBe(32);
  });

  it("of a listener, or a token outside the vocabulary, fails one sequence only", () => {
    const rig = new Rig({ numBlocks: 16 });
    const jobs = Array.from({ length: 3 }, (_, i) => job(tokensFrom(i, 6), 6));
    jobs[1]!.probe.token = () => {
      throw new Error("the listener's own");
    };
    const compute = rig.backend.step.bind(rig.backend);
    rig.backend.step = (batch) => {
      const result = compute(batch) as StepResult;
      for (const [i, { tokens, startPosition }] of batch.sequences.entries()) {
        if (tokens.length === 1 && startPosition === 8 && i === 1) result.rows[i]!.token = 32;
      }
      return result;
    };
    rig.run(...jobs);
    expectDone([jobs[0]!]);
    expect((jobs[1]!.probe.error as Error).message).toBe("the listener's own");
    expect((jobs[2]!.probe.error as Error).message).toBe("The backend sampled token 32; the vocabulary has 32.");
    expect(rig.numFree).toBe(16);
  });

  it("of a backend that returns too few rows fails the batch", () => {
    const rig = new Rig();
    rig.backend.step = () => ({ rows: [] });
    const one = job([1, 2], 3);
    rig.run(one);
    expect((one.probe.error as Error).message).toBe("The backend returned 0 rows, not 1.");
  });

  it("that ends the engine fails all, and all that is added", async () => {
    const rig = new Rig({}, { numRunningMax: 1 });
    const jobs = [job([1, 2], 3), job([3, 4], 3)];
    for (const { sequence } of jobs) rig.engine.add([sequence]);
    rig.step();
    const error = new Error("evicted");
    rig.engine.shutdown(error);
    expect(jobs.map(({ probe }) => probe.error)).toEqual([error, error]);
    expect(() => rig.engine.add([job([1], 1).sequence])).toThrow("evicted");
    expect(rig.numFree).toBe(64);
    await rig.engine.whenAlive();
  });
});

describe("an asynchronous backend", () => {
  it("gives every caller the step under way, and takes joins, aborts and faults meanwhile", async () => {
    const rig = new Rig({ numBlocks: 16 });
    rig.backend.isAsynchronous = true;
    const jobs = Array.from({ length: 4 }, (_, i) => job(tokensFrom(i, 6), 5));
    rig.engine.add(jobs.slice(0, 2).map(({ sequence }) => sequence));
    const steps = [rig.engine.step(), rig.engine.step()];
    expect(steps[0]).toBe(steps[1]);
    rig.engine.abort(jobs[0]!.sequence);
    rig.engine.add([jobs[2]!.sequence]);
    expect(await steps[0]).toBe(true);
    expect(jobs.map(({ probe }) => probe.tokens.length)).toEqual([0, 1, 0, 0]);
    while (await rig.engine.step()) rig.engine.checkInvariants();
    expectDone([jobs[1]!, jobs[2]!]);
    rig.engine.add([jobs[3]!.sequence]);
    rig.backend.nextError = new BackendCrash("lost");
    expect(await rig.engine.step()).toBe(true);
    expect([jobs[3]!.probe.error, rig.crashes.length, rig.engine.isAlive]).toEqual([null, 1, false]);
    expect(rig.numFree).toBe(16);
    rig.backend.revive();
    rig.engine.replaceBackend(rig.backend);
    while (await rig.engine.step()) rig.engine.checkInvariants();
    expectDone([jobs[3]!]);
  });

  it("leaks nothing and mixes nothing up, whenever sequences come and go", async () => {
    const life = fc.record({
      prompt: fc.array(fc.nat(3), { minLength: 1, maxLength: 14 }),
      maxTokens: fc.integer({ min: 1, max: 10 }),
      arriveAt: fc.nat(12),
      abortAt: fc.option(fc.nat(30)),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(life, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 12 }),
        async (lives, tokenBudget) => {
          const rig = new Rig({ numBlocks: 9, blockTokens: 3 }, { tokenBudget });
          rig.backend.isAsynchronous = true;
          const jobs = lives.map(({ prompt, maxTokens }) => job(prompt, maxTokens));
          for (let step = 0; step < 2000; step++) {
            rig.backend.poison(rig.engine.vacantBlocks());
            const isMoved = rig.engine.step();
            // While the step is under way, as callers do.
            for (const [i, { arriveAt, abortAt }] of lives.entries()) {
              if (arriveAt === step) rig.engine.add([jobs[i]!.sequence]);
              if (abortAt === step && arriveAt <= step) rig.engine.abort(jobs[i]!.sequence);
            }
            rig.engine.checkInvariants();
            if (!(await isMoved) && step > 30) break;
          }
          for (const [i, one] of jobs.entries()) {
            expect(one.probe.error).toBeNull();
            const { abortAt, arriveAt } = lives[i]!;
            const wanted = expected(one);
            if (abortAt === null || abortAt < arriveAt) expect(one.probe.tokens).toEqual(wanted);
            else expect(one.probe.tokens).toEqual(wanted.slice(0, one.probe.tokens.length));
          }
          expect(rig.numFree).toBe(9);
        },
      ),
      { seed: 6, numRuns: 500 },
    );
  });
});
