/** A second model that drafts: whatever it says, the text is that of plain decoding; what it says well saves steps. */
import fc from "fast-check";
import { expect, it, test, vi } from "vitest";
import { BackendCrash, type BackendLimits } from "../../../src/serving/backend.ts";
import { Engine } from "../../../src/serving/engine.ts";
import { expected, job, Rig, tokensFrom } from "./harness.ts";
import { GREEDY, HashModelBackend } from "./hash-model.ts";
import { type Client, clientOf, expectAlone, machine, play, request, rigFor } from "./workload.ts";

// Seconds on an idle machine; a busy one must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

/** The hash model itself, whose tokens are changed now and then: as good a guesser as is wanted. */
class DraftBackend extends HashModelBackend {
  readonly #errorEvery: number;
  #numRows = 0;

  /** @param errorEvery one guess in so many is wrong; with 1 all are */
  constructor(errorEvery: number, limits: Partial<BackendLimits> = {}) {
    super(limits);
    this.#errorEvery = errorEvery;
  }

  override step(batch: Parameters<HashModelBackend["step"]>[0]) {
    const result = super.step(batch);
    return result instanceof Promise ? result.then((value) => this.#spoil(value)) : this.#spoil(result);
  }

  #spoil({ rows }: { rows: { token: number }[] }) {
    const { vocabSize } = this.limits;
    return {
      rows: rows.map(({ token }) => {
        const isWrong = ++this.#numRows % this.#errorEvery === 0;
        return { token: isWrong ? (token + 1) % vocabSize : token, logprob: null, top: [], logits: null };
      }),
    };
  }
}

const DRAFTS = { speculation: { maxDrafts: 4 } } as const;
const NEVER = 1_000_000;

test("a model that guesses right gives several tokens a step, sampled ones, too", () => {
  for (const temperature of [0, 1]) {
    const draft = new DraftBackend(NEVER);
    const rig = new Rig({}, DRAFTS, { draftBackend: draft, rowCost: 0 });
    const sampling = { ...GREEDY, temperature };
    const one = job(tokensFrom(1, 9), 40, { sampling, rngKey: [3, 4] });
    const plain = job(tokensFrom(1, 9), 40, { sampling, rngKey: [3, 4] });
    new Rig().run(plain);
    rig.run(one);
    expect(one.probe.tokens).toEqual(plain.probe.tokens);
    expect(rig.engine.stats.numSteps).toBeLessThan(16);
    expect(rig.engine.stats.numAcceptedTokens).toBe(rig.engine.stats.numDraftedTokens);
    // Its cache is kept in step: the prompt once, and then no token twice.
    expect(draft.stepSizes.flat().reduce((sum, size) => sum + size, 0)).toBeLessThan(9 + 40 + 8);
  }
});

test("a model that is always wrong costs its guesses and changes nothing", () => {
  const rig = new Rig({}, DRAFTS, { draftBackend: new DraftBackend(1), rowCost: 0.25 });
  const jobs = [job(tokensFrom(1, 9), 30), job(tokensFrom(2, 5), 30)];
  rig.run(...jobs);
  for (const one of jobs) expect(one.probe.tokens).toEqual(expected(one));
  expect(rig.engine.stats.numAcceptedTokens).toBe(0);
});

it.each([
  ["crashes", new BackendCrash("gone")],
  ["refuses a batch", new Error("refused")],
])("a model that %s is not asked again, and is heard of once", (_name, error) => {
  for (const numSteps of [0, 1, 2, 5]) {
    const draft = new DraftBackend(NEVER);
    const rig = new Rig({}, DRAFTS, { draftBackend: draft, rowCost: 0 });
    const one = job(tokensFrom(1, 9), 30);
    rig.engine.add([one.sequence]);
    for (let i = 0; i < numSteps; i++) rig.step();
    draft.nextError = error;
    rig.drain();
    expect(one.probe.tokens).toEqual(expected(one));
    expect([rig.faults, rig.crashes]).toEqual([[error], []]);
    expect(draft.nextError).toBeNull();
  }
});

test("backends that answer later, both or either", async () => {
  for (const [isDraftLate, isLate] of [
    [true, true],
    [true, false],
    [false, true],
  ]) {
    const draft = new DraftBackend(7);
    const rig = new Rig({}, DRAFTS, { draftBackend: draft, rowCost: 0 });
    draft.isAsynchronous = isDraftLate!;
    rig.backend.isAsynchronous = isLate!;
    const jobs = [job(tokensFrom(1, 9), 30), job(tokensFrom(2, 5), 20)];
    const aborted = job(tokensFrom(3, 5), 30);
    for (const { sequence } of [jobs[0]!, aborted]) rig.engine.add([sequence]);
    for (let i = 0; i < 4; i++) await rig.engine.step();
    const step = rig.engine.step();
    rig.engine.abort(aborted.sequence);
    rig.engine.add([jobs[1]!.sequence]);
    await step;
    while (await rig.engine.step()) rig.engine.checkInvariants();
    for (const one of jobs) expect(one.probe.tokens).toEqual(expected(one));
    expect(rig.engine.stats.numAcceptedTokens).toBeGreaterThan(10);
    expect(rig.numFree).toBe(64);
  }
});

test("a sequence that outgrows the draft model's cache goes on without it", () => {
  const rig = new Rig({}, DRAFTS, { draftBackend: new DraftBackend(NEVER, { numBlocks: 8 }), rowCost: 0 });
  const one = job(tokensFrom(1, 9), 60);
  rig.run(one);
  expect(one.probe.tokens).toEqual(expected(one));
  expect(rig.engine.stats.numAcceptedTokens).toBeGreaterThan(0);
  expect(rig.faults).toEqual([]);
});

test("a model of another vocabulary is refused", () => {
  const options = { backend: new HashModelBackend(), limits: { numWaitingMax: 1 }, onCrash: () => {} };
  const draftBackend = new HashModelBackend({ vocabSize: 31 });
  expect(() => new Engine({ ...options, draftBackend })).toThrow("knows 31 tokens, the model 32");
});

it("changes nothing of any text", () => {
  const totals = { drafted: 0, accepted: 0, preemptions: 0 };
  fc.assert(
    fc.property(
      machine,
      fc.constantFrom(1, 2, 3, 9, NEVER),
      fc.constantFrom(0, 0.25),
      fc.integer({ min: 2, max: 64 }),
      fc.array(
        fc.tuple(request, fc.integer({ min: 0, max: 40 })).map(([one, maxTokens]) => ({ ...one, maxTokens })),
        { minLength: 1, maxLength: 5 },
      ),
      (settings, errorEvery, rowCost, maxBatchTokens, requests) => {
        const clients: Client[] = requests.map(clientOf);
        const draftBackend = new DraftBackend(errorEvery, { maxBatchTokens });
        const rig = rigFor({ ...settings, ...DRAFTS }, requests, { draftBackend, rowCost });
        play(rig, clients);
        for (const client of clients) expectAlone(client);
        expect(rig.faults).toEqual([]);
        const { stats } = rig.engine;
        expect([stats.numRunning, stats.numWaiting, stats.numFreeBlocks]).toEqual([0, 0, stats.numBlocks]);
        totals.drafted += stats.numDraftedTokens;
        totals.accepted += stats.numAcceptedTokens;
        totals.preemptions += stats.numPreemptions;
      },
    ),
    { seed: 5, numRuns: 200 },
  );
  expect(totals.accepted).toBeGreaterThan(200);
  expect(totals.drafted - totals.accepted).toBeGreaterThan(50);
  expect(totals.preemptions).toBeGreaterThan(20);
});
