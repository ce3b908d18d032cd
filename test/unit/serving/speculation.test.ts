/** What drafts may take, and what they must leave to others. That they change no text is in speculation-properties. */
import { describe, expect, it } from "vitest";
import { BackendCrash } from "../../../src/serving/backend.ts";
import { CREDIT_INITIAL_STEPS, LOSS_SHARE_MAX, NUM_DRAFTS_MAX } from "../../../src/serving/draft-policy.ts";
import type { Drafter } from "../../../src/serving/drafter.ts";
import type { EngineLimits } from "../../../src/serving/engine.ts";
import type { Sequence } from "../../../src/serving/sequence.ts";
import { speculationSettings } from "../../../src/serving/speculation.ts";
import { expected, type Job, job, Rig, tokensFrom } from "./harness.ts";
import { oracle } from "./oracle-drafter.ts";
import { only, readAll, request, world } from "./world.ts";

interface Setup {
  jobs: Job[];
  limits?: ConstructorParameters<typeof Rig>[0];
  engine?: Partial<EngineLimits>;
  rowCost?: number;
  isWrong?: (index: number) => boolean;
}

/** Rows that cost nothing: whatever was right once is drafted as far as it goes. */
const FREE = 0;

/** An engine whose drafter knows what every job will generate. */
function rigOf({ jobs, limits, engine, rowCost = FREE, isWrong }: Setup): Rig {
  const drafters = new Map<Sequence, Drafter>();
  for (const one of jobs) {
    const truth = expected({ ...one, probe: { ...one.probe, stopToken: null } as Job["probe"] });
    drafters.set(one.sequence, oracle(one.sequence, truth, isWrong));
  }
  return new Rig(limits, engine, { rowCost, createDrafter: (sequence) => drafters.get(sequence)! });
}

function expectDone(jobs: readonly Job[]): void {
  for (const one of jobs) {
    expect(one.probe.error).toBeNull();
    expect(one.probe.tokens).toEqual(expected(one));
  }
}

describe("a decode with drafts", () => {
  it("gives several tokens for a step, and looks before it leaps", () => {
    const one = job(tokensFrom(1, 9), 40);
    const rig = rigOf({ jobs: [one] });
    rig.run(one);
    expectDone([one]);
    // The prompt; one token that is only watched; then all drafts in each step.
    expect(rig.backend.stepSizes).toEqual([[9], [1], [9], [9], [9], [9], [2]]);
    const { numDraftedTokens, numAcceptedTokens, numStepTokens } = rig.engine.stats;
    expect([numDraftedTokens, numAcceptedTokens, numStepTokens]).toEqual([33, 33, 48]);
  });

  it("goes on behind the first draft that is wrong, with the token that is right", () => {
    const one = job(tokensFrom(1, 9), 30);
    const rig = rigOf({ jobs: [one], isWrong: (index) => index === 5 || index === 15 });
    const starts: number[] = [];
    rig.backend.onStep = ({ sequences }) => starts.push(sequences[0]!.startPosition);
    rig.run(one);
    expectDone([one]);
    // Output 5 is position 14, computed by the step after the one that refused its draft.
    expect(starts).toContain(14);
    expect(starts).toContain(24);
    expect(starts.length).toBeLessThan(10);
  });

  it("carries none any more when they are wrong, long before they have cost what they may", () => {
    const one = job(tokensFrom(1, 9), 120);
    const rig = rigOf({ jobs: [one], rowCost: 0.1, isWrong: (index) => index >= 40 });
    rig.run(one);
    expectDone([one]);
    expect(rig.engine.stats.numAcceptedTokens).toBeGreaterThan(20);
    expect(rig.backend.stepSizes.slice(-60)).toEqual(Array(60).fill([1]));
  });

  it("is not thought of before a first token, behind which parallel samples part", () => {
    const prompt = tokensFrom(1, 9);
    const siblings = [1, 2].map((i) => job(prompt, 10, { rngKey: [i, 1] }));
    const first = job(prompt, 10, { siblings: siblings.map(({ sequence }) => sequence) });
    const askedAt: number[] = [];
    const propose: Drafter["propose"] = ({ numTokens }) => {
      askedAt.push(numTokens);
      return [];
    };
    // The prompt but for its last token, then that one alone: a decode that has generated nothing yet.
    const rig = new Rig({}, { tokenBudget: 8, numRunningMax: 2 }, { rowCost: 0, createDrafter: () => ({ propose }) });
    rig.run(first);
    expectDone([first, ...siblings]);
    expect(rig.backend.stepSizes.slice(0, 2)).toEqual([[8], [1]]);
    expect(Math.min(...askedAt)).toBe(10);
  });

  it("gives back the blocks of refused drafts, and caches what was accepted, no more", () => {
    for (const isWrong of [() => true, (index: number) => index % 4 === 3, () => false]) {
      const one = job(tokensFrom(1, 6), 31);
      const next = job([...tokensFrom(1, 6), ...expected(one), 3], 5);
      const rig = rigOf({ jobs: [one, next], isWrong });
      rig.engine.add([one.sequence]);
      while (rig.step()) {
        const { table, numComputed } = one.sequence;
        if (table === null) continue;
        expect(table.numBlocks).toBe(Math.ceil(numComputed / 4));
        expect(table.numIndexed).toBe(Math.floor(numComputed / 4));
      }
      expectDone([one]);
      // The last token was sampled and never computed: 36 positions.
      expect([rig.numFree, rig.engine.stats.numCachedBlocks]).toEqual([64, 9]);
      rig.run(next);
      expect(next.sequence.numCachedTokens).toBe(36);
      expectDone([next]);
    }
  });

  it("discards what comes behind a stop, and never computes beyond the last token wanted", () => {
    for (let numOutput = 1; numOutput <= 24; numOutput++) {
      const one = job(tokensFrom(2, 7), numOutput);
      const rig = rigOf({ jobs: [one], limits: { contextLength: 7 + numOutput } });
      rig.backend.onStep = ({ sequences: [step] }) => {
        expect(step!.startPosition + step!.tokens.length).toBeLessThan(7 + numOutput);
      };
      rig.run(one);
      expectDone([one]);
      expect(one.probe.end).toBe("length");
    }
    const text = expected(job(tokensFrom(2, 7), 24));
    for (const stopToken of new Set(text)) {
      const one = job(tokensFrom(2, 7), 24);
      one.probe.stopToken = stopToken;
      const rig = rigOf({ jobs: [one] });
      rig.run(one);
      expectDone([one]);
      expect([one.probe.end, rig.numFree]).toEqual(["stop", 64]);
      const { numDraftedTokens, numAcceptedTokens } = rig.engine.stats;
      expect(numDraftedTokens).toBe(one.sequence.numDraftedTokens);
      expect(numAcceptedTokens).toBe(one.sequence.numAcceptedTokens);
      expect(rig.engine.stats.numCachedBlocks).toBe(Math.ceil((7 + text.indexOf(stopToken)) / 4));
    }
  });

  it("reports the logprobs of every token as plain decoding does", () => {
    const speculated = job(tokensFrom(1, 9), 30, { numLogprobs: 3 });
    const plain = job(tokensFrom(1, 9), 30, { numLogprobs: 3 });
    const rig = rigOf({ jobs: [speculated], isWrong: (index) => index % 6 === 0 });
    rig.run(speculated);
    new Rig().run(plain);
    expect(speculated.probe.rows).toEqual(plain.probe.rows);
    expect(speculated.probe.rows[20]!.top.length).toBe(3);
    expect(rig.engine.stats.numAcceptedTokens).toBeGreaterThan(10);
  });

  it("may be aborted while it is under way, and leaves nothing", async () => {
    const jobs = [job(tokensFrom(1, 9), 40), job(tokensFrom(2, 9), 40)];
    const rig = rigOf({ jobs });
    rig.backend.isAsynchronous = true;
    rig.engine.add(jobs.map(({ sequence }) => sequence));
    for (let i = 0; i < 3; i++) await rig.engine.step();
    const step = rig.engine.step();
    expect(rig.backend.stepSizes.at(-1)).toEqual([9, 9]);
    rig.engine.abort(jobs[0]!.sequence);
    rig.engine.checkInvariants();
    await step;
    while (await rig.engine.step()) rig.engine.checkInvariants();
    expectDone(jobs.slice(1));
    expect(jobs[0]!.probe.tokens).toEqual(expected(jobs[0]!).slice(0, jobs[0]!.probe.tokens.length));
    expect(rig.numFree).toBe(64);
  });

  it("fails alone when its listener does in the middle of its tokens", () => {
    const jobs = [job(tokensFrom(1, 9), 40), job(tokensFrom(2, 9), 40)];
    let numTokens = 0;
    jobs[0]!.probe.token = () => {
      if (++numTokens === 6) throw new Error("the listener's own");
      return false;
    };
    const rig = rigOf({ jobs });
    rig.run(...jobs);
    expect((jobs[0]!.probe.error as Error).message).toBe("the listener's own");
    expect(numTokens).toBe(6);
    expectDone(jobs.slice(1));
    expect(rig.numFree).toBe(64);
  });
});

describe("drafts leave to others", () => {
  it("the budget of a step: every decode is in it first", () => {
    for (let tokenBudget = 2; tokenBudget <= 12; tokenBudget++) {
      const jobs = [job(tokensFrom(1, 5), 30), job(tokensFrom(2, 5), 30)];
      const rig = rigOf({ jobs, engine: { tokenBudget } });
      for (const { sequence } of jobs) rig.engine.add([sequence]);
      const isDecoding = ({ sequence }: Job) => sequence.status === "running" && sequence.numRemaining === 1;
      for (let numDecodes = 0; rig.step(); numDecodes = jobs.filter(isDecoding).length) {
        const sizes = rig.backend.stepSizes.at(-1)!;
        expect(sizes.length).toBeGreaterThanOrEqual(numDecodes);
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(tokenBudget);
      }
      expectDone(jobs);
      if (tokenBudget > 2) expect(rig.engine.stats.numAcceptedTokens).toBeGreaterThan(0);
    }
  });

  it("the steps in which a prompt is computed", () => {
    const [first, late] = [job(tokensFrom(1, 5), 60), job(tokensFrom(2, 40), 5)];
    const rig = rigOf({ jobs: [first, late], engine: { prefillChunkTokens: 4 } });
    rig.engine.add([first.sequence]);
    for (let i = 0; i < 4; i++) rig.step();
    expect(rig.backend.stepSizes.at(-1)).toEqual([9]);
    rig.engine.add([late.sequence]);
    while (late.probe.numPrefilled === 0) {
      rig.step();
      expect(rig.backend.stepSizes.at(-1)).toEqual([1, 4]);
    }
    rig.step();
    expect(rig.backend.stepSizes.at(-1)![0]).toBe(9);
    rig.drain();
    expectDone([first, late]);
  });

  it("a chunk of one token of a sequence that was preempted", () => {
    const jobs = [job(tokensFrom(1, 9), 11), job(tokensFrom(2, 9), 11)];
    const rig = rigOf({
      jobs,
      limits: { blockTokens: 4, numBlocks: 7 },
      engine: { tokenBudget: 2, prefixCache: false },
    });
    rig.run(...jobs);
    expect(rig.engine.stats.numPreemptions).toBeGreaterThan(0);
    expect(rig.engine.stats.numAcceptedTokens).toBeGreaterThan(0);
    expectDone(jobs);
  });

  it("the blocks: nobody is preempted for them, and a sequence that fills the pool gets its last one", () => {
    // Both fit to their ends, with no block to spare.
    const jobs = [job(tokensFrom(1, 9), 12), job(tokensFrom(2, 9), 12)];
    const rig = rigOf({ jobs, limits: { blockTokens: 4, numBlocks: 10 } });
    rig.run(...jobs);
    expectDone(jobs);
    expect(rig.engine.stats.numPreemptions).toBe(0);
    expect(rig.engine.stats.numAcceptedTokens).toBeGreaterThan(10);
    const full = job(tokensFrom(1, 9), 11);
    const tight = rigOf({ jobs: [full], limits: { blockTokens: 4, numBlocks: 5 } });
    tight.run(full);
    expectDone([full]);
  });

  it("a batch of more than two", () => {
    for (const numSequences of [1, 2, 3, 4]) {
      const jobs = Array.from({ length: numSequences }, (_, i) => job(tokensFrom(i, 5), 12));
      const rig = rigOf({ jobs });
      rig.run(...jobs);
      expectDone(jobs);
      expect(rig.engine.stats.numDraftedTokens > 0).toBe(numSequences <= 2);
    }
  });

  it("their time: refused drafts cost 2 % and a step, whatever the drafter says", () => {
    const numTokens = 900;
    const one = job(tokensFrom(1, 9), numTokens);
    const truth = expected(one);
    // Right where it is only watched (one token asked for), wrong where it is believed.
    const liar: Drafter = {
      propose(history, max) {
        const token = truth[history.numTokens - 9]!;
        return Array.from({ length: max }, () => (max === 1 ? token : (token + 1) % 32));
      },
    };
    const rig = new Rig(
      { contextLength: 1000, numBlocks: 250 },
      { speculation: { maxDrafts: 8 } },
      { rowCost: 0.25, createDrafter: () => liar },
    );
    rig.run(one);
    expect(one.probe.tokens).toEqual(truth);
    const { numDraftedTokens, numAcceptedTokens } = rig.engine.stats;
    expect(numAcceptedTokens).toBe(0);
    expect(numDraftedTokens).toBeGreaterThan(20);
    expect(numDraftedTokens * 0.25).toBeLessThanOrEqual(CREDIT_INITIAL_STEPS + LOSS_SHARE_MAX * numTokens);
  });
});

describe("the setting", () => {
  it("auto follows what the backend measured, off is off, and a number is a bound", () => {
    const draftedBy = (speculation: EngineLimits["speculation"], rowCost?: number) => {
      const one = job(tokensFrom(1, 9), 40);
      const drafter = oracle(one.sequence, expected(one));
      const options = { createDrafter: () => drafter, ...(rowCost === undefined ? {} : { rowCost }) };
      const rig = new Rig({}, speculation === undefined ? {} : { speculation }, options);
      rig.run(one);
      expectDone([one]);
      return Math.max(...rig.backend.stepSizes.slice(1).flat()) - 1;
    };
    expect(draftedBy(undefined)).toBe(0);
    expect(draftedBy("auto")).toBe(0);
    expect(draftedBy(undefined, 0.2)).toBe(NUM_DRAFTS_MAX);
    expect(draftedBy("auto", 1)).toBe(0);
    expect(draftedBy("off", 0.2)).toBe(0);
    expect(draftedBy({ maxDrafts: 3 })).toBe(3);
    expect(draftedBy({ maxDrafts: 3 }, 0.01)).toBe(3);
  });

  it("refuses a number of drafts that cannot be", () => {
    for (const maxDrafts of [0, 9, 1.5, Number.NaN]) {
      expect(() => speculationSettings({ maxDrafts }, undefined)).toThrow(`takes 1 to 8 drafts, got ${maxDrafts}`);
    }
  });

  it("shows in the usage what was guessed, where something was", () => {
    const prompts = [{ kind: "text" as const, text: "abcabcabcabcabc" }];
    // All but certain to repeat: every other letter is forbidden.
    const sampling = {
      ...request().sampling,
      logitBias: Array.from({ length: 31 }, (_, id) => [id, id === 4 ? 100 : 0] as [number, number]),
    };
    const usages = (["off", { maxDrafts: 4 }] as const).map((speculation) => {
      const { model } = world({}, { speculation });
      const events = readAll(model.generate(request({ prompts, sampling, maxTokens: 40 })));
      const { usage } = only(events, "done")[0]!;
      const { numDraftedTokens, numAcceptedTokens } = model.stats;
      expect(usage.completionTokens).toBe(40);
      const drafts = { accepted: numAcceptedTokens, rejected: numDraftedTokens - numAcceptedTokens };
      expect(usage.drafts).toEqual(numDraftedTokens === 0 ? undefined : drafts);
      return usage;
    });
    expect(usages[0]!.drafts).toBeUndefined();
    expect(usages[1]!.drafts!.accepted).toBeGreaterThan(20);
  });
});

describe("a step that was lost with its drafts", () => {
  it("teaches nothing when the history comes back in pieces, which have no rows", async () => {
    const [one, other] = [job(tokensFrom(1, 9), 24), job(tokensFrom(2, 9), 24)];
    const rig = rigOf({ jobs: [one, other], engine: { tokenBudget: 10 } });
    rig.engine.add([one.sequence]);
    while (one.probe.tokens.length < 12) rig.step();
    rig.backend.nextError = new BackendCrash("gone");
    rig.step();
    expect([rig.crashes.length, rig.engine.stats.numWaiting]).toEqual([1, 1]);
    rig.backend.revive();
    rig.engine.replaceBackend(rig.backend);
    const numBefore = rig.backend.stepSizes.length;
    rig.run(other);
    // More tokens than a step takes: the first piece samples nothing.
    expect(rig.backend.stepSizes[numBefore]).toEqual([10]);
    expectDone([one, other]);
    expect(rig.faults).toEqual(rig.crashes);
  });
});
