/** Answers that must match: what comes, how it ends, and that nothing of how it is computed shows. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Constraint, GenerateEvent, GenerateRequest } from "../../../src/protocol/generate.ts";
import { GREEDY } from "./hash-model.ts";
import { only, readAll, request, textOf, world } from "./world.ts";

const choice = (...choices: string[]): Constraint => ({ kind: "choice", choices });
const regex = (pattern: string): Constraint => ({ kind: "regex", pattern });
const RANDOM = { ...GREEDY, temperature: 1 };

function answer(changes: Partial<GenerateRequest>, here = world()): GenerateEvent[] {
  return readAll(here.model.generate(request({ ignoreEos: false, maxTokens: 40, ...changes })));
}

const finishOf = (events: readonly GenerateEvent[]) => only(events, "finish").map(({ reason }) => reason);

describe("a constraint", () => {
  it("holds for every choice, each with a place of its own", () => {
    const seeds = Array.from({ length: 8 }, (_, seed) => seed);
    const texts = seeds.flatMap((seed) => {
      const events = answer({ constraint: choice("yes", "no", "maybe"), n: 4, sampling: { ...RANDOM, seed } });
      expect(finishOf(events)).toEqual(["stop", "stop", "stop", "stop"]);
      return [0, 1, 2, 3].map((index) => textOf(events, index));
    });
    expect(new Set(texts)).toEqual(new Set(["yes", "no", "maybe"]));
  });

  it("ends an answer as soon as nothing but its end can follow, without a step for that", () => {
    const here = world();
    const events = answer({ constraint: choice("abc") }, here);
    expect([textOf(events), finishOf(events)]).toEqual(["abc", ["stop"]]);
    expect(only(events, "done")[0]!.usage.completionTokens).toBe(3);
    expect(here.backend.stepSizes).toHaveLength(3);
  });

  it("that is not met yet when the answer is cut leaves the reason length", () => {
    expect(finishOf(answer({ constraint: regex("[a-z]{30}"), maxTokens: 5 }))).toEqual(["length"]);
    const whole = answer({ constraint: regex("[a-c]{5}"), maxTokens: 5 });
    expect([textOf(whole), finishOf(whole)]).toEqual([expect.stringMatching(/^[a-c]{5}$/), ["stop"]]);
  });

  it("ends also where ends are to be ignored", () => {
    const events = answer({ constraint: regex("[ab]{1,20}"), ignoreEos: true, sampling: { ...RANDOM, seed: 3 } });
    expect([textOf(events), finishOf(events)]).toEqual([expect.stringMatching(/^[ab]{1,20}$/), ["stop"]]);
  });

  it("is met with any rules beside it", () => {
    for (let seed = 0; seed < 20; seed++) {
      const fields = { constraint: regex("[a-e]{2,9}"), minTokens: 4, badWords: ["b", "cd"] };
      const text = textOf(answer({ ...fields, sampling: { ...RANDOM, seed } }));
      expect(text).toMatch(/^[acde]{4,9}$/);
      expect(text).not.toContain("cd");
    }
  });

  it("that nothing can meet, or beside a search, is refused before any event", () => {
    expect(() => answer({ constraint: regex("[0-9]") })).toThrow(/No text of this model's vocabulary matches/);
    expect(() => answer({ constraint: choice("b"), badWords: ["b"] })).toThrow(/allows no token at all/);
    const beams = { width: 2, lengthPenalty: 1, stopsEarly: false };
    expect(() => answer({ constraint: choice("a"), beams })).toThrow(/Beam search/);
  });

  it("that rules make impossible later ends its own answer with an error, and no other", () => {
    const here = world();
    const doomed = here.model.generate(request({ constraint: choice("ab"), badWords: ["ab"], maxTokens: 9 }));
    const other = here.model.generate(request({ requestId: "r2", constraint: choice("hello") }));
    expect(textOf(readAll(other))).toBe("hello");
    const events = readAll(doomed);
    expect(events.at(-1)).toMatchObject({ type: "error", status: 400, message: /leave no token/ });
  });
});

const cases = fc.record({
  constraint: fc.constantFrom(
    regex("(ab|abc|b)*"),
    regex("[a-z ]{3,25}"),
    choice("the quick fox", "the quick dog", "a fox"),
    null,
  ),
  minTokens: fc.nat(9),
  badWords: fc.constantFrom<string[]>([], ["ab"], ["e", "x y"]),
  sampling: fc.record({ temperature: fc.constantFrom(0, 1), seed: fc.nat(99) }).map((some) => ({ ...GREEDY, ...some })),
});

describe("a restricted answer", () => {
  it("is the same with drafts and without", () => {
    fc.assert(
      fc.property(cases, (fields) => {
        const plain = answer(fields, world({}, { speculation: "off" }));
        const drafted = answer(fields, world({}, { speculation: { maxDrafts: 8 } }));
        expect([textOf(drafted), finishOf(drafted)]).toEqual([textOf(plain), finishOf(plain)]);
      }),
      { numRuns: 300 },
    );
  });

  it("needs fewer steps where its grammar leaves no choice", () => {
    const fields = { constraint: choice("abcdefghijklmno", "bcdefghijklmnop") };
    const [plain, drafted] = [world({}, { speculation: "off" }), world({}, { speculation: { maxDrafts: 8 } })];
    expect(textOf(answer(fields, drafted))).toBe(textOf(answer(fields, plain)));
    expect([plain.backend.stepSizes.length, drafted.backend.stepSizes.length]).toEqual([15, 3]);
    expect(drafted.model.stats.numDraftedTokens).toBe(drafted.model.stats.numAcceptedTokens);
  });

  it("goes on from its first tokens as it would have, and after it was preempted", () => {
    fc.assert(
      fc.property(cases, (fields) => {
        const whole = answer(fields);
        const ids = only(whole, "delta").flatMap(({ tokenIds }) => tokenIds);
        for (let numKnown = 1; numKnown < ids.length; numKnown += 3) {
          const options = { generatedTokens: ids.slice(0, numKnown) };
          const again = readAll(
            world().model.generate(request({ ignoreEos: false, maxTokens: 40, ...fields }), options),
          );
          expect([textOf(again), finishOf(again)]).toEqual([textOf(whole), finishOf(whole)]);
        }
        // Two answers that together need more blocks than there are.
        const small = world({ numBlocks: 16, blockTokens: 4 });
        const asked = { ignoreEos: false, maxTokens: 40, ...fields };
        const both = ["r1", "r2"].map((requestId) => small.model.generate(request({ ...asked, requestId })));
        for (const one of both) expect(textOf(readAll(one))).toBe(textOf(whole));
      }),
      { numRuns: 60 },
    );
  });
});
