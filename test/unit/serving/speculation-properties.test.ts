/**
 * The promise of speculation on random workloads: whatever is drafted, right, wrong or half right, on any machine, under
 * any sampling, with preemptions, forks, aborts and a shared cache, every sequence generates what it generates alone.
 */
import fc from "fast-check";
import { expect, it, vi } from "vitest";
import type { Drafter } from "../../../src/serving/drafter.ts";
import type { Sequence } from "../../../src/serving/sequence.ts";
import { Rig } from "./harness.ts";
import { oracle } from "./oracle-drafter.ts";
import { type Client, clientOf, expectAlone, machine, play, request, rigFor, truthOf } from "./workload.ts";

// Seconds on an idle machine; a busy one must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

const guesses = fc.record({
  maxDrafts: fc.integer({ min: 1, max: 8 }),
  /** Where rows are free, whatever was right once is drafted as far as it goes. */
  rowCost: fc.constantFrom(0, 0.25),
  /** The drafter errs once in so many tokens; with 1 never. */
  errorEvery: fc.constantFrom(1, 2, 3, 5, 9, 100),
  isShort: fc.boolean(),
});

const longer = fc.tuple(request, fc.integer({ min: 0, max: 40 })).map(([one, maxTokens]) => ({ ...one, maxTokens }));

/** Rows as plain decoding reports them, logprobs included, with a machine of its own. */
function plainRows({ request: one }: Client) {
  const rig = new Rig({ numBlocks: 400, numAdapters: 2 }, { speculation: "off" });
  const alone = clientOf({ ...one, delay: 0, abortAfter: null });
  play(rig, [alone]);
  return alone.choices.map(({ probe }) => probe.rows);
}

it("changes nothing of any text", () => {
  const totals = { drafted: 0, accepted: 0, preemptions: 0, hits: 0 };
  fc.assert(
    fc.property(machine, guesses, fc.array(longer, { minLength: 1, maxLength: 5 }), (settings, guess, requests) => {
      const clients = requests.map(clientOf);
      const drafters = new Map<Sequence, Drafter>();
      for (const client of clients) {
        for (const [i, { sequence }] of client.choices.entries()) {
          const exact = oracle(sequence, truthOf(client, i), (index) => index % guess.errorEvery === 1);
          const propose: Drafter["propose"] = (history, max) =>
            exact.propose(history, guess.isShort ? Math.ceil(max / 2) : max);
          drafters.set(sequence, { propose });
        }
      }
      const rig = rigFor({ ...settings, speculation: { maxDrafts: guess.maxDrafts } }, requests, {
        rowCost: guess.rowCost,
        createDrafter: (sequence) => drafters.get(sequence)!,
      });
      rig.backend.onStep = ({ sequences }) => {
        const numTokens = sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
        expect(numTokens).toBeLessThanOrEqual(settings.tokenBudget);
      };
      play(rig, clients);
      for (const client of clients) {
        expectAlone(client);
        const rows = plainRows(client);
        for (const [i, { probe }] of client.choices.entries()) {
          expect(probe.rows).toEqual(rows[i]!.slice(0, probe.rows.length));
        }
      }
      const { stats } = rig.engine;
      expect([stats.numRunning, stats.numWaiting, stats.numFreeBlocks]).toEqual([0, 0, stats.numBlocks]);
      expect(rig.faults).toEqual([]);
      totals.drafted += stats.numDraftedTokens;
      totals.accepted += stats.numAcceptedTokens;
      totals.preemptions += stats.numPreemptions;
      totals.hits += stats.prefixHitTokens;
    }),
    { seed: 7, numRuns: 400 },
  );
  // The workloads reach what they are about.
  expect(totals.accepted).toBeGreaterThan(1000);
  expect(totals.drafted - totals.accepted).toBeGreaterThan(500);
  expect(totals.preemptions).toBeGreaterThan(50);
  expect(totals.hits).toBeGreaterThan(100);
});
