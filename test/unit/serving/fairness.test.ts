/**
 * How long a running stream waits for others: from one of its tokens to the next they compute at most a step's budget less
 * its own token, whatever prompts, drafts and decodes that is, and archives move at most `movedTokensPerStep` tokens of
 * KV, whoever restores and saves. Counted, not timed.
 */
import fc from "fast-check";
import { expect, it, vi } from "vitest";
import type { KvSink, KvSource } from "../../../src/serving/kv-archive.ts";
import type { Sequence } from "../../../src/serving/sequence.ts";
import { uniformSource } from "../../support/random.ts";
import { Rig } from "./harness.ts";
import { MapArchive } from "./map-archive.ts";
import { oracle } from "./oracle-drafter.ts";
import { type Client, clientOf, expectAlone, keptClientOf, machine, request, rigFor, truthOf } from "./workload.ts";

// Seconds on an idle machine; a busy one must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

const settings = fc.record({
  machine,
  movedTokensPerStep: fc.integer({ min: 1, max: 20 }),
  isTight: fc.boolean(),
  speculation: fc.constantFrom("off" as const, { maxDrafts: 8 }, { maxDrafts: 8 }),
  seed: fc.integer(),
});

/** As an earlier turn of the same session left it: the first half of what it has now. */
function archiveOf(one: Client["request"], blockTokens: number): MapArchive {
  const archive = new MapArchive();
  const rig = new Rig({ blockTokens });
  const client = clientOf({ ...one, n: 1 });
  const { sequence } = client.choices[0]!;
  rig.run(client.choices[0]!);
  const tokens = [...sequence.promptTokens, ...sequence.outputTokens];
  while (!rig.engine.saveBlocks(tokens, one.cacheSalt, archive)!.isWhole);
  archive.cut(archive.rows.size / 2);
  return archive;
}

it("a running stream waits for no more than the stated work of others, and every text stays the same", () => {
  let [numRestored, numSaved, numPreemptions, numDrafted, numPrefillsBeside] = [0, 0, 0, 0, 0];
  fc.assert(
    fc.property(settings, fc.array(request, { minLength: 2, maxLength: 8 }), (world, requests) => {
      const { blockTokens, tokenBudget } = world.machine;
      const numSpareBlocks = world.isTight ? world.machine.numSpareBlocks : 200;
      const { movedTokensPerStep, speculation } = world;
      const truths = new Map<Sequence, number[]>();
      const createDrafter = (sequence: Sequence) => oracle(sequence, truths.get(sequence)!, (i) => i % 5 === 1);
      const limits = { ...world.machine, numSpareBlocks, movedTokensPerStep, speculation };
      const rig = rigFor(limits, requests, { createDrafter });
      const numMovedMax = Math.max(1, Math.floor(movedTokensPerStep / blockTokens));
      let numMoved = 0;
      const moved = <T>(value: T): T => {
        if (rig.engine.stats.numRunning > 0) expect(++numMoved).toBeLessThanOrEqual(numMovedMax);
        return value;
      };
      const counted = (archive: MapArchive): KvSource & KvSink => ({
        has: (...block) => archive.has(...block),
        read: (blocks) => archive.read(blocks).map(moved),
        write: (...block) => moved(archive.write(...block)),
      });
      const archives = requests.map((one) => counted(archiveOf(one, blockTokens)));
      const clients = requests.map((one, i) => keptClientOf({ ...one, abortAfter: null }, archives[i]));

      for (const client of clients) {
        for (const [i, { sequence }] of client.choices.entries()) truths.set(sequence, truthOf(client, i));
      }
      /** Tokens of others since the last own one, of those that were decoding then. */
      const waited = new Map<Client["choices"][number], number>();
      const all = clients.flatMap(({ choices }) => choices);
      rig.backend.onStep = (batch) => {
        numMoved = 0;
        const numTokens = batch.sequences.reduce((sum, { tokens }) => sum + tokens.length, 0);
        expect(numTokens).toBeLessThanOrEqual(tokenBudget);
        for (const [stream, num] of waited) waited.set(stream, num + numTokens - 1);
        if (waited.size > 0 && batch.sequences.length > waited.size) numPrefillsBeside++;
      };
      const observe = (before: Map<Client["choices"][number], number>) => {
        for (const [stream, num] of waited) {
          const isMoved = stream.probe.tokens.length > before.get(stream)!;
          // One that was preempted waits for its place.
          if (isMoved || stream.sequence.status !== "running") waited.delete(stream);
          else expect(num).toBeLessThanOrEqual(tokenBudget - 1);
        }
        for (const stream of all) {
          const isDecoding = stream.sequence.status === "running" && stream.sequence.numRemaining === 1;
          if (isDecoding && !waited.has(stream)) waited.set(stream, 0);
        }
      };

      const random = uniformSource(world.seed);
      const arriving = [...clients];
      const unsaved = new Set(clients);
      for (let i = 0; all.some(({ probe }) => probe.end === null) || unsaved.size > 0; i++) {
        if (i > 20_000) throw new Error("The machine does not come to rest.");
        const before = new Map(all.map((one) => [one, one.probe.tokens.length]));
        const one = clients[Math.floor(random() * clients.length)]!;
        const { sequence, probe } = one.choices[0]!;
        if (arriving.includes(one)) {
          arriving.splice(arriving.indexOf(one), 1);
          rig.engine.add([sequence]);
        } else if (probe.end !== null && unsaved.has(one)) {
          const tokens = [...sequence.promptTokens, ...sequence.outputTokens];
          const progress = rig.engine.saveBlocks(tokens, sequence.cacheSalt, archives[clients.indexOf(one)]!)!;
          numSaved += progress.numWritten;
          if (progress.isWhole) unsaved.delete(one);
        } else if (!rig.engine.restoreSome(sequence)) rig.step();
        rig.engine.checkInvariants();
        observe(before);
      }
      for (const client of clients) expectAlone(client);
      const { stats } = rig.engine;
      const { numRunning, numWaiting, numUnsaved, numFreeBlocks, numBlocks } = stats;
      expect([numRunning, numWaiting, numUnsaved, numFreeBlocks]).toEqual([0, 0, 0, numBlocks]);
      expect(rig.faults).toEqual([]);
      numRestored += stats.numRestoredTokens;
      numPreemptions += stats.numPreemptions;
      numDrafted += stats.numDraftedTokens;
    }),
    { seed: 12, numRuns: 400 },
  );
  // The workloads reach what they are about.
  expect(Math.min(numRestored, numDrafted, numPrefillsBeside)).toBeGreaterThan(500);
  expect(Math.min(numPreemptions, numSaved)).toBeGreaterThan(50);
});
