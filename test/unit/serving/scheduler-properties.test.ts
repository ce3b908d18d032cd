/**
 * Random workloads on random machines. Whatever the budget, the pool, the batch mates, the cache and the preemptions:
 * every admitted sequence ends, and generates what it generates alone.
 */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { choiceKey } from "../../../src/serving/rng-key.ts";
import { expected, type Job, job, Rig, tokensFrom } from "./harness.ts";
import { GREEDY, generateAlone, scoreAlone } from "./hash-model.ts";

const VOCAB_SIZE = 32;

// Seconds on an idle machine; a busy one must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

const machine = fc.record({
  blockTokens: fc.integer({ min: 1, max: 5 }),
  numSpareBlocks: fc.integer({ min: 0, max: 12 }),
  tokenBudget: fc.integer({ min: 1, max: 24 }),
  prefillChunkTokens: fc.integer({ min: 1, max: 24 }),
  numRunningMax: fc.integer({ min: 1, max: 8 }),
  prefixCache: fc.boolean(),
});

const request = fc.record({
  /** How much of one of two common prefixes it begins with. */
  prefix: fc.integer({ min: 0, max: 1 }),
  numShared: fc.integer({ min: 0, max: 16 }),
  own: fc.array(fc.nat(VOCAB_SIZE - 1), { minLength: 1, maxLength: 8 }),
  maxTokens: fc.integer({ min: 0, max: 12 }),
  n: fc.constantFrom(1, 1, 1, 2, 4),
  temperature: fc.constantFrom(0, 0, 1),
  presencePenalty: fc.constantFrom(0, 0, 1),
  stopToken: fc.option(fc.nat(VOCAB_SIZE - 1)),
  scorePrompt: fc.constantFrom(false, false, true),
  cacheSalt: fc.constantFrom("", "", "b"),
  /** Steps made before it arrives. */
  delay: fc.integer({ min: 0, max: 4 }),
  /** Steps after its arrival at which it is aborted. */
  abortAfter: fc.option(fc.integer({ min: 0, max: 20 }), { freq: 8 }),
});

type Machine = typeof machine extends fc.Arbitrary<infer T> ? T : never;
type Request = typeof request extends fc.Arbitrary<infer T> ? T : never;

interface Client {
  request: Request;
  choices: Job[];
  abortAt: number;
}

function clientOf(one: Request): Client {
  const prompt = [...tokensFrom(one.prefix + 1, one.numShared), ...one.own];
  const choices: Job[] = [];
  for (let i = one.n - 1; i >= 0; i--) {
    const choice = job(prompt, one.maxTokens, {
      sampling: { ...GREEDY, temperature: one.temperature, presencePenalty: one.presencePenalty },
      rngKey: choiceKey([one.own[0]!, one.own.length], i),
      scorePrompt: one.scorePrompt,
      numLogprobs: one.scorePrompt ? 2 : null,
      cacheSalt: one.cacheSalt,
      siblings: i === 0 ? choices.map(({ sequence }) => sequence).reverse() : [],
    });
    choice.probe.stopToken = one.stopToken;
    choices.push(choice);
  }
  return { request: one, choices: choices.reverse(), abortAt: Number.POSITIVE_INFINITY };
}

function rigFor(settings: Machine, requests: readonly Request[]): Rig {
  const longest = Math.max(...requests.map((one) => one.numShared + one.own.length + one.maxTokens));
  const { blockTokens, numSpareBlocks, ...limits } = settings;
  // The smallest pool that holds the longest sequence, and some spare: most runs must preempt.
  return new Rig({ blockTokens, numBlocks: Math.ceil(longest / blockTokens) + numSpareBlocks }, limits);
}

/** Feeds the requests in at their times and steps until all is done. */
function play(rig: Rig, clients: Client[]): void {
  let step = 0;
  const advance = () => {
    for (const client of clients) {
      if (client.abortAt === step) for (const { sequence } of client.choices) rig.engine.abort(sequence);
    }
    step++;
    rig.engine.checkInvariants();
    return rig.step();
  };
  for (const client of clients) {
    for (let i = 0; i < client.request.delay; i++) advance();
    rig.engine.add([client.choices[0]!.sequence]);
    if (client.request.abortAfter !== null) client.abortAt = step + client.request.abortAfter;
  }
  for (let i = 0; advance(); i++) if (i > 20_000) throw new Error("The machine does not come to rest.");
}

function expectAlone(client: Client): void {
  const { request: one, choices } = client;
  for (const [i, { sequence, probe }] of choices.entries()) {
    expect(probe.error).toBeNull();
    const tokens = generateAlone(sequence.promptTokens, {
      numTokens: one.maxTokens,
      vocabSize: VOCAB_SIZE,
      sampling: { ...GREEDY, temperature: one.temperature, presencePenalty: one.presencePenalty },
      rngKey: choiceKey([one.own[0]!, one.own.length], i),
    });
    const stopAt = one.stopToken === null ? -1 : tokens.indexOf(one.stopToken);
    const wanted = stopAt < 0 ? tokens : tokens.slice(0, stopAt + 1);
    if (client.abortAt !== Number.POSITIVE_INFINITY && probe.end === null) {
      expect(wanted.slice(0, probe.tokens.length)).toEqual(probe.tokens);
      continue;
    }
    expect(probe.tokens).toEqual(wanted);
    expect(probe.end).toBe(stopAt < 0 ? "length" : "stop");
    expect(probe.numPrefilled).toBe(1);
    expect(probe.numAdmitted).toBe(i === 0 ? 1 : 0);
    const isScored = i === 0 && one.scorePrompt;
    expect(probe.scores).toEqual(isScored ? scoreAlone(sequence.promptTokens, VOCAB_SIZE, 2) : []);
    if (one.scorePrompt) expect(sequence.numCachedTokens).toBe(0);
  }
}

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
