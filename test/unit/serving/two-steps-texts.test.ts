/**
 * Readers over a backend that takes two steps: stop strings, stop tokens, several choices and readers that go away. What a
 * reader gets is, event for event, what one alone gets of a backend that answers at once.
 */
import fc from "fast-check";
import { expect, it, vi } from "vitest";
import type { GenerateEvent, GenerateRequest } from "../../../src/protocol/generate.ts";
import type { Generation } from "../../../src/serving/language-model.ts";
import { uniformSource } from "../../support/random.ts";
import { GREEDY } from "./hash-model.ts";
import { readAll, request, world } from "./world.ts";

// Seconds on an idle machine; a busy one must not fail for being slow.
vi.setConfig({ testTimeout: 300_000 });

const asked = fc.record({
  text: fc.stringMatching(/^[a-e ]{1,12}$/),
  maxTokens: fc.integer({ min: 0, max: 16 }),
  n: fc.constantFrom(1, 1, 1, 3),
  temperature: fc.constantFrom(0, 1),
  presencePenalty: fc.constantFrom(0, 0, 0, 1),
  stopStrings: fc.array(fc.constantFrom("a", "m", "ea", "t ", "xyz"), { maxLength: 2 }),
  stopTokenIds: fc.constantFrom<number[][]>([], [], [7]),
  logprobs: fc.constantFrom(null, null, 2),
  echo: fc.boolean(),
  arrivesAt: fc.nat(10),
  /** Events after which its reader goes away. */
  leavesAfter: fc.constantFrom(null, null, null, null, 0, 1, 3, 8),
});

/** By choice, and those of none, without what depends on time and on others: how far each is beside the others does, too. */
function comparable(events: readonly GenerateEvent[]): unknown[][] {
  const lists: unknown[][] = [[], [], [], []];
  for (const event of events) {
    if (event.type === "start") lists[3]!.push({ ...event, cachedTokens: 0 });
    else if (event.type === "done")
      lists[3]!.push({ ...event, usage: { ...event.usage, cachedTokens: 0 }, timings: null });
    else lists["index" in event ? event.index : 3]!.push(event);
  }
  return lists;
}

it("gives every reader what it gets alone", async () => {
  let [numAhead, numStopped, numLeft] = [0, 0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(asked, { minLength: 1, maxLength: 6 }), fc.nat(), async (wishes, seed) => {
      const random = uniformSource(seed);
      const limits = { numBlocks: 24, blockTokens: 4, maxBatchTokens: 12, maxBatchSequences: 6 };
      const here = world({ ...limits, numStepsInFlight: 2 }, { numWaitingMax: 100 });
      here.backend.isAsynchronous = true;
      here.backend.turnsOfAnswer = () => Math.floor(random() * 9);
      const requests = wishes.map(({ text, temperature, presencePenalty, arrivesAt: _a, leavesAfter: _l, ...rest }) => {
        const sampling = { ...GREEDY, temperature, presencePenalty, seed: text.length };
        return request({ ...rest, prompts: [{ kind: "text", text }], sampling });
      });
      const read = async (one: GenerateRequest, i: number): Promise<[Generation, GenerateEvent[]]> => {
        for (let turns = wishes[i]!.arrivesAt * 5; turns > 0; turns--) await null;
        const generation = here.model.generate(one);
        const events: GenerateEvent[] = [];
        for (;;) {
          if (events.length === wishes[i]!.leavesAfter) generation.abort();
          const event = await generation.next();
          if (event === null) return [generation, events];
          events.push(event);
          for (let turns = Math.floor(random() * 4); turns > 0; turns--) await null;
        }
      };
      const answers = await Promise.all(requests.map(read));
      for (const [i, [, events]] of answers.entries()) {
        const alone = readAll(world(limits, {}).model.generate(requests[i]!));
        const lists = comparable(events);
        expect(lists).toEqual(comparable(alone).map((list, at) => list.slice(0, lists[at]!.length)));
        if (wishes[i]!.leavesAfter === null) expect(events.length).toBe(alone.length);
        else numLeft++;
        numStopped += events.filter((event) => event.type === "finish" && event.stop !== null).length;
      }
      // What a reader left behind may be under way.
      const { stats } = here.model;
      expect([stats.numRunning, stats.numWaiting, stats.numFreeBlocks]).toEqual([0, 0, 24]);
      expect(here.faults).toEqual([]);
      numAhead += stats.numStepsAhead;
    }),
    { seed: 24, numRuns: 250 },
  );
  // The workloads reach what they are about.
  expect(numAhead).toBeGreaterThan(500);
  expect(Math.min(numStopped, numLeft)).toBeGreaterThan(100);
});
