import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fmix32 } from "../../../src/serving/block-hash.ts";
import { LOOKUP_WINDOW_TOKENS, PromptLookupDrafter } from "../../../src/serving/prompt-lookup.ts";

const historyOf = (tokens: readonly number[]) => ({
  numTokens: tokens.length,
  tokenAt: (position: number) => tokens[position]!,
});

/** The definition, word for word: longest suffix first, last occurrence first, and then token after token. */
function proposeNaively(tokens: readonly number[], numDrafts: number): number[] {
  for (const length of [4, 3, 2]) {
    if (tokens.length < length) continue;
    const suffix = tokens.slice(-length).join();
    for (let end = tokens.length - 1; end >= length; end--) {
      if (tokens.slice(end - length, end).join() !== suffix) continue;
      const all = [...tokens];
      for (let i = 0; i < numDrafts; i++) all.push(all[end + i]!);
      return all.slice(tokens.length);
    }
  }
  return [];
}

describe("prompt lookup", () => {
  it.each([
    ["the longest suffix before a later, shorter one", [1, 2, 3, 4, 9, 8, 3, 4, 5, 5, 1, 2, 3, 4], 2, [9, 8]],
    ["the last of several occurrences", [1, 2, 7, 1, 2, 8, 1, 2], 1, [8]],
    ["a run, as far as it is asked for", [5, 6, 6, 6], 4, [6, 6, 6, 6]],
    ["a cycle, around its end", [1, 2, 3, 1, 2], 6, [3, 1, 2, 3, 1, 2]],
    ["nothing where only one token is known", [1, 2, 3, 4, 5, 2], 3, []],
    ["nothing of a text without repetition", [1, 2, 3, 4, 5, 6], 3, []],
    ["nothing of one token", [1], 3, []],
  ])("proposes %s", (_, tokens, numDrafts, wanted) => {
    expect(proposeNaively(tokens, numDrafts)).toEqual(wanted);
    expect(new PromptLookupDrafter().propose(historyOf(tokens), numDrafts)).toEqual(wanted);
  });

  it("proposes what the definition says, whenever it is asked", () => {
    const run = fc.record({
      tokens: fc.array(fc.nat(4), { minLength: 1, maxLength: 120 }),
      strides: fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 20 }),
      numDrafts: fc.integer({ min: 1, max: 9 }),
    });
    fc.assert(
      fc.property(run, ({ tokens, strides, numDrafts }) => {
        const drafter = new PromptLookupDrafter();
        for (let i = 0, length = 1; length <= tokens.length; length += strides[i++ % strides.length]!) {
          const known = tokens.slice(0, length);
          expect(drafter.propose(historyOf(known), numDrafts)).toEqual(proposeNaively(known, numDrafts));
        }
      }),
      { seed: 9, numRuns: 500 },
    );
  });

  it("knows at least half its window and nothing beyond it", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(3), { minLength: 1, maxLength: 150 }),
        fc.integer({ min: 8, max: 40 }),
        (tokens, windowTokens) => {
          const drafter = new PromptLookupDrafter(windowTokens);
          for (let length = 1; length <= tokens.length; length++) {
            const known = tokens.slice(0, length);
            const actual = drafter.propose(historyOf(known), 3).join();
            const wanted = [];
            // Some window between the half and the whole explains it.
            for (let size = Math.floor(windowTokens / 2); size <= windowTokens + 1; size++) {
              wanted.push(proposeNaively(known.slice(-size), 3).join());
            }
            expect(wanted).toContain(actual);
          }
        },
      ),
      { seed: 10, numRuns: 200 },
    );
  });

  it("reads a bounded number of tokens for each new one and holds a bounded memory, however long the text", () => {
    const numTokens = 4 * LOOKUP_WINDOW_TOKENS;
    const tokens = Array.from({ length: numTokens }, (_, i) => fmix32(i) % 300);
    const drafter = new PromptLookupDrafter();
    let numReads = 0;
    let length = 1;
    const history = {
      get numTokens() {
        return length;
      },
      tokenAt(position: number) {
        numReads++;
        return tokens[position]!;
      },
    };
    for (; length <= numTokens; length++) drafter.propose(history, 9);
    // Nine to hash an n-gram of each length, as many to find it again, nine of a draft; probes, growth and windows.
    expect(numReads / numTokens).toBeLessThan(120);
    expect(drafter.memoryBytes).toBeLessThanOrEqual(3 * 2 ** 14 * 4);
  });
});
