/**
 * The promise of beam search on random machines beside random requests: whatever is preempted, aborted or shared, a search
 * finds what the plain loop over the whole model finds, everybody else generates what they generate alone, and nothing
 * is held at the end.
 */
import fc from "fast-check";
import { expect, it, vi } from "vitest";
import { BeamJob } from "./beam-job.ts";
import { type BeamTask, searchAlone } from "./beam-truth.ts";
import { Rig, tokensFrom } from "./harness.ts";
import { clientOf, expectAlone, machine, request, VOCAB_SIZE } from "./workload.ts";

// Seconds on an idle machine; a busy one must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

const search = fc.record({
  width: fc.integer({ min: 1, max: 5 }),
  lengthPenalty: fc.constantFrom(-1, 0, 0.6, 1, 1, 2),
  maxTokens: fc.integer({ min: 1, max: 9 }),
  prefix: fc.integer({ min: 0, max: 1 }),
  numShared: fc.integer({ min: 0, max: 12 }),
  own: fc.array(fc.nat(VOCAB_SIZE - 1), { minLength: 1, maxLength: 6 }),
  numEnds: fc.constantFrom(0, 1, 6),
  arrivesAt: fc.nat(6),
  abortAfter: fc.constantFrom(null, null, null, null, 0, 2, 3, 5, 8),
});

it("is exact, and shares its machine", () => {
  const totals = { preemptions: 0, ended: 0, stopped: 0, aborted: 0, hits: 0 };
  fc.assert(
    fc.property(
      machine,
      fc.array(search, { minLength: 1, maxLength: 3 }),
      fc.array(request, { maxLength: 3 }),
      ({ blockTokens, numSpareBlocks, ...limits }, searches, requests) => {
        const tasks = searches.map(({ prefix, numShared, own, numEnds, ...rest }): BeamTask => {
          const endTokens = Array.from({ length: numEnds }, (_, i) => i * 5);
          return { ...rest, prompt: [...tokensFrom(prefix + 1, numShared), ...own], endTokens, vocabSize: VOCAB_SIZE };
        });
        const found = tasks.map((one) => new BeamJob(one, { stopsEarly: false }));
        const clients = requests.map((one) => clientOf({ ...one, delay: 0, abortAfter: null }));
        const numBlocksFor = (numTokens: number) => Math.ceil(numTokens / blockTokens);
        const needs = [
          ...found.map(({ group }) => group.numBlocksMax({ blockTokens, numBlocksFor })),
          ...requests.map(({ numShared, own, maxTokens }) => numBlocksFor(numShared + own.length + maxTokens)),
        ];
        const numRunningMax = Math.max(limits.numRunningMax, ...tasks.map(({ width }) => width));
        const tokenBudget = Math.max(limits.tokenBudget, numRunningMax);
        const rig = new Rig(
          { blockTokens, numBlocks: Math.max(...needs) + numSpareBlocks, numAdapters: 2 },
          { ...limits, numRunningMax, tokenBudget },
        );
        for (const { choices } of clients) rig.engine.add([choices[0]!.sequence]);
        for (let step = 0, isMoved = true; isMoved || step < 20; step++) {
          for (const [i, { arrivesAt, abortAfter }] of searches.entries()) {
            if (step === arrivesAt) rig.engine.add([found[i]!.group.root]);
            if (abortAfter !== null && step === arrivesAt + abortAfter + 1) rig.engine.abort(found[i]!.group.root);
          }
          rig.engine.checkInvariants();
          isMoved = rig.step();
        }
        for (const [i, { beams, error, numEnds }] of found.entries()) {
          expect(error).toBeNull();
          if (searches[i]!.abortAfter !== null && numEnds === 0) {
            totals.aborted++;
            continue;
          }
          expect(numEnds).toBe(1);
          expect(beams).toEqual(searchAlone(tasks[i]!));
          totals.ended++;
          totals.stopped += beams.filter(({ reason }) => reason === "stop").length;
        }
        for (const client of clients) expectAlone(client);
        const { stats } = rig.engine;
        expect([stats.numRunning, stats.numWaiting, stats.numFreeBlocks]).toEqual([0, 0, stats.numBlocks]);
        expect(rig.faults).toEqual([]);
        totals.preemptions += stats.numPreemptions;
        totals.hits += stats.prefixHitTokens;
      },
    ),
    { seed: 11, numRuns: 250 },
  );
  // The workloads reach what they are about.
  for (const [name, atLeast] of Object.entries({ preemptions: 20, ended: 250, stopped: 200, aborted: 20, hits: 100 })) {
    expect(totals[name as keyof typeof totals], name).toBeGreaterThanOrEqual(atLeast);
  }
});
