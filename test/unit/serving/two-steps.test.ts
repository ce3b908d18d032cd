/**
 * A backend that takes a second step before the first has answered: whatever comes and goes meanwhile, every text is what
 * one step at a time gives, nothing leaks, and nothing is read that is not written.
 */
import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { BackendCrash } from "../../../src/serving/backend.ts";
import type { EngineLimits } from "../../../src/serving/engine.ts";
import type { Sequence } from "../../../src/serving/sequence.ts";
import { uniformSource } from "../../support/random.ts";
import { BeamJob } from "./beam-job.ts";
import { searchAlone } from "./beam-truth.ts";
import { expected, type Job, job, Rig, type RigOptions, tokensFrom } from "./harness.ts";
import { GREEDY } from "./hash-model.ts";
import { oracle } from "./oracle-drafter.ts";
import {
  type Client,
  clientOf,
  expectAlone,
  type Machine,
  machine,
  type Request,
  request,
  rigFor,
  truthOf,
  VOCAB_SIZE,
} from "./workload.ts";

// Seconds on an idle machine; a busy one must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

function rigOf(
  depth: number,
  settings: Machine & Partial<EngineLimits>,
  requests: readonly Request[],
  seed: number,
  options: RigOptions = {},
): Rig {
  const rig = rigFor(settings, requests, options, { numStepsInFlight: depth });
  const random = uniformSource(seed);
  rig.backend.isAsynchronous = true;
  rig.backend.turnsOfAnswer = () => Math.floor(random() * 9);
  return rig;
}

interface PlayOptions {
  seed: number;
  faultsAt: Faults;
  onRound?: (round: number) => void;
}

/** As `play`, with callers that do not wait for each other. */
async function playLater(rig: Rig, clients: readonly Client[], { seed, faultsAt, onRound }: PlayOptions) {
  const random = uniformSource(seed);
  const turns: { client: Client; at: number }[] = [];
  let at = 0;
  for (const client of clients) {
    at += client.request.delay;
    turns.push({ client, at });
    if (client.request.abortAfter !== null) client.abortAt = at + client.request.abortAfter;
  }
  for (let round = 0; round < 20_000; round++) {
    for (const { client, at: arrival } of turns) {
      if (arrival === round) rig.engine.add([client.choices[0]!.sequence]);
      if (client.abortAt === round) for (const { sequence } of client.choices) rig.engine.abort(sequence);
    }
    onRound?.(round);
    const fault = faultsAt.get(round);
    if (fault !== undefined) rig.backend.nextError = fault;
    rig.backend.poison(rig.engine.vacantBlocks());
    const isMoved = rig.engine.step();
    rig.engine.checkInvariants();
    for (let i = Math.floor(random() * 6); i > 0; i--) {
      await null;
      rig.engine.checkInvariants();
    }
    // Some callers do not wait.
    if (random() < 0.3) continue;
    const hasMoved = await isMoved;
    rig.engine.checkInvariants();
    if (!rig.engine.isAlive) {
      rig.backend.revive();
      rig.engine.replaceBackend(rig.backend);
    } else if (!hasMoved && round > at + 6) return;
  }
  throw new Error("The machine does not come to rest.");
}

type Faults = ReadonlyMap<number, Error>;
const NO_FAULTS: Faults = new Map();

function expectAtRest(rig: Rig): void {
  const { stats } = rig.engine;
  expect([stats.numRunning, stats.numWaiting, stats.numFreeBlocks]).toEqual([0, 0, stats.numBlocks]);
}

const workload = [machine, fc.array(request, { minLength: 1, maxLength: 8 }), fc.nat()] as const;

describe("random workloads", () => {
  it("say the same with one step in flight and with two", async () => {
    let [numAhead, numPreemptions, numHitTokens] = [0, 0, 0];
    await fc.assert(
      fc.asyncProperty(...workload, async (settings, requests, seed) => {
        for (const depth of [1, 2]) {
          const rig = rigOf(depth, settings, requests, seed);
          const clients = requests.map(clientOf);
          await playLater(rig, clients, { seed, faultsAt: NO_FAULTS });
          for (const client of clients) expectAlone(client);
          expectAtRest(rig);
          expect(rig.faults).toEqual([]);
          const { stats } = rig.engine;
          if (depth === 1) expect(stats.numStepsAhead).toBe(0);
          else numPreemptions += stats.numPreemptions;
          numAhead += stats.numStepsAhead;
          numHitTokens += stats.prefixHitTokens;
        }
      }),
      { seed: 21, numRuns: 500 },
    );
    // The workloads reach what they are about.
    expect(numAhead).toBeGreaterThan(3000);
    expect(numPreemptions).toBeGreaterThan(100);
    expect(numHitTokens).toBeGreaterThan(500);
  });

  it("lose no token with a backend that is lost, and nothing but what was in a refused step", async () => {
    let numCrashes = 0;
    const faults = fc.array(fc.record({ at: fc.nat(40), isCrash: fc.boolean() }), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(...workload, faults, async (settings, requests, seed, plannedFaults) => {
        const faultsAt = new Map(
          plannedFaults.map(({ at, isCrash }) => [at, isCrash ? new BackendCrash("by chance") : new Error("refused")]),
        );
        const rig = rigOf(2, settings, requests, seed);
        const clients = requests.map((one) => clientOf({ ...one, scorePrompt: false }));
        await playLater(rig, clients, { seed, faultsAt });
        expectAtRest(rig);
        numCrashes += rig.crashes.length;
        for (const client of clients) {
          const { error } = client.choices[0]!.probe;
          if (error === null && client.choices.every(({ probe }) => probe.error === null)) expectAlone(client);
          else expect(plannedFaults.some(({ isCrash }) => !isCrash)).toBe(true);
        }
      }),
      { seed: 22, numRuns: 400 },
    );
    expect(numCrashes).toBeGreaterThan(100);
  });
});

it("drafts and searches sit out, and change nothing", async () => {
  let [numAhead, numAccepted, numSearches] = [0, 0, 0];
  const search = fc.record({
    width: fc.integer({ min: 1, max: 3 }),
    maxTokens: fc.integer({ min: 1, max: 6 }),
    own: fc.array(fc.nat(VOCAB_SIZE - 1), { minLength: 1, maxLength: 6 }),
    arrivesAt: fc.nat(6),
  });
  await fc.assert(
    fc.asyncProperty(...workload, fc.array(search, { maxLength: 2 }), async (settings, requests, seed, searches) => {
      const truths = new Map<Sequence, number[]>();
      const createDrafter = (sequence: Sequence) => oracle(sequence, truths.get(sequence)!, (i) => i % 5 === 1);
      const numRunningMax = Math.max(settings.numRunningMax, 3);
      const roomy = { ...settings, numRunningMax, tokenBudget: Math.max(settings.tokenBudget, 3), numSpareBlocks: 40 };
      const rig = rigOf(2, { ...roomy, speculation: { maxDrafts: 8 } }, requests, seed, { createDrafter });
      const clients = requests.map(clientOf);
      for (const client of clients) {
        for (const [i, { sequence }] of client.choices.entries()) truths.set(sequence, truthOf(client, i));
      }
      const tasks = searches.map(({ own, ...rest }) => {
        return { ...rest, prompt: own, lengthPenalty: 1, endTokens: [0, 5, 10], vocabSize: VOCAB_SIZE };
      });
      const found = tasks.map((task) => new BeamJob(task));
      const onRound = (round: number) => {
        for (const [i, { arrivesAt }] of searches.entries()) {
          if (round === arrivesAt) rig.engine.add([found[i]!.group.root]);
        }
      };
      await playLater(rig, clients, { seed, faultsAt: NO_FAULTS, onRound });
      for (const client of clients) expectAlone(client);
      for (const [i, { beams }] of found.entries()) expect(beams).toEqual(searchAlone(tasks[i]!));
      expectAtRest(rig);
      expect(rig.faults).toEqual([]);
      numAhead += rig.engine.stats.numStepsAhead;
      numAccepted += rig.engine.stats.numAcceptedTokens;
      numSearches += found.length;
    }),
    { seed: 23, numRuns: 200 },
  );
  expect(Math.min(numAhead, numAccepted, numSearches)).toBeGreaterThan(30);
});

/** Two steps in flight, answers when a test says so. */
class Turnstile {
  readonly rig = new Rig({ numBlocks: 32, numStepsInFlight: 2 });
  readonly #gates: PromiseWithResolvers<void>[] = [];

  constructor() {
    const compute = this.rig.backend.step.bind(this.rig.backend);
    this.rig.backend.isAsynchronous = true;
    this.rig.backend.step = async (batch) => {
      const gate = Promise.withResolvers<void>();
      this.#gates.push(gate);
      const result = compute(batch);
      // Waited for below: a rejection is not unhandled.
      const settled = Promise.allSettled([result]);
      await gate.promise;
      await settled;
      return result;
    };
  }

  get numHandedOver(): number {
    return this.#gates.length;
  }

  add(...jobs: Job[]): void {
    for (const { sequence } of jobs) this.rig.engine.add([sequence]);
  }

  /** Answers the step of this number, and waits for it. */
  async answer(number: number): Promise<void> {
    const step = this.rig.engine.step();
    this.#gates[number]!.resolve();
    await step;
    this.rig.engine.checkInvariants();
  }

  async drain(): Promise<void> {
    for (;;) {
      const step = this.rig.engine.step();
      for (const gate of this.#gates) gate.resolve();
      if (!(await step)) return;
      this.rig.engine.checkInvariants();
    }
  }
}

describe("a step ahead", () => {
  it("is handed over before the one before it has answered, once", async () => {
    const stile = new Turnstile();
    const { engine } = stile.rig;
    const one = job(tokensFrom(1, 6), 4);
    stile.add(one);
    const steps = [engine.step(), engine.step()];
    expect(steps[0]).toBe(steps[1]);
    expect([stile.numHandedOver, one.probe.tokens.length]).toEqual([2, 0]);
    await stile.answer(0);
    expect([stile.numHandedOver, one.probe.tokens.length]).toEqual([2, 1]);
    await stile.answer(1);
    expect([stile.numHandedOver, one.probe.tokens.length]).toEqual([3, 2]);
    await stile.drain();
    expect(one.probe.tokens).toEqual(expected(one));
    // Not one step beyond the last token.
    expect([stile.numHandedOver, engine.stats.numStepsAhead, stile.rig.numFree]).toEqual([4, 3, 32]);
  });

  it("waits where a draw depends on the token before, where samples fork, and behind a lost backend", async () => {
    const sampling = { ...GREEDY, presencePenalty: 1 };
    const sibling = job(tokensFrom(2, 6), 4, { rngKey: [1, 1] });
    const forking = job(tokensFrom(2, 6), 4, { siblings: [sibling.sequence] });
    for (const [first, numAtOnce] of [
      [job(tokensFrom(1, 6), 4, { sampling }), 1],
      [forking, 1],
      [job(tokensFrom(1, 6), 4), 2],
    ] as const) {
      const stile = new Turnstile();
      stile.add(first);
      stile.rig.engine.step();
      expect(stile.numHandedOver).toBe(numAtOnce);
      stile.rig.engine.step();
      expect(stile.numHandedOver).toBe(numAtOnce);
      await stile.drain();
      expect(stile.rig.numFree).toBe(32);
    }
    const stile = new Turnstile();
    const suspect = job(tokensFrom(3, 6), 4);
    suspect.sequence.numCrashes = 1;
    stile.add(suspect);
    stile.rig.engine.step();
    expect(stile.numHandedOver).toBe(1);
    await stile.answer(0);
    await stile.drain();
    expect(suspect.probe.tokens).toEqual(expected(suspect));
  });

  it("is dropped for whoever turns out to have ended, and its blocks are free at once", async () => {
    const stile = new Turnstile();
    const [ending, going] = [job(tokensFrom(1, 7), 8), job(tokensFrom(2, 7), 8)];
    ending.probe.stopToken = expected(ending)[1]!;
    stile.add(ending, going);
    await stile.answer(0);
    const { numFree } = stile.rig;
    await stile.answer(1);
    // The token of position 7 ended it; position 8, in a block of its own, is being computed.
    expect(ending.probe.end).toBe("stop");
    expect(stile.rig.numFree).toBeGreaterThan(numFree);
    await stile.drain();
    expect(ending.probe.tokens).toEqual(expected(ending));
    expect(going.probe.tokens).toEqual(expected(going));
    expect(stile.rig.numFree).toBe(32);
  });

  it("lets an abort free everything at once, with both steps under way", async () => {
    const stile = new Turnstile();
    const [gone, next] = [job(tokensFrom(1, 7), 8), job(tokensFrom(1, 7), 8)];
    stile.add(gone);
    await stile.answer(0);
    stile.rig.engine.step();
    stile.rig.engine.abort(gone.sequence);
    stile.rig.engine.checkInvariants();
    expect(stile.rig.numFree).toBe(32);
    stile.add(next);
    await stile.drain();
    expect([gone.probe.tokens.length, gone.probe.end, gone.probe.error]).toEqual([1, null, null]);
    expect(next.probe.tokens).toEqual(expected(next));
  });

  it("brings in who came meanwhile, one step later than without it", async () => {
    const stile = new Turnstile();
    const [first, second] = [job(tokensFrom(1, 6), 9), job(tokensFrom(2, 6), 3)];
    stile.add(first);
    stile.rig.engine.step();
    stile.add(second);
    // Two are under way; it is in the third.
    await stile.answer(0);
    await stile.answer(1);
    expect(stile.rig.backend.stepSizes).toEqual([[6], [1], [1, 6]]);
    await stile.drain();
    expect(second.probe.tokens).toEqual(expected(second));
  });

  it("fails with a refused step before it for those of that step only", async () => {
    const stile = new Turnstile();
    const [failing, fine] = [job(tokensFrom(1, 6), 6), job(tokensFrom(2, 6), 6)];
    stile.add(failing);
    stile.rig.backend.nextError = new Error("refused");
    stile.rig.engine.step();
    stile.add(fine);
    await stile.drain();
    expect((failing.probe.error as Error).message).toBe("refused");
    expect([fine.probe.error, fine.probe.tokens]).toEqual([null, expected(fine)]);
    expect(stile.rig.numFree).toBe(32);
  });
});
