import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NgramIndex } from "../../../src/serving/ngram-index.ts";
import { tokensFrom } from "./harness.ts";

const sourceOf = (tokens: readonly number[]) => ({ tokenAt: (position: number) => tokens[position]! });

/** The end of the last occurrence that ends before `end`, by reading everything. */
function lastEnd(tokens: readonly number[], length: number, end: number): number {
  const wanted = tokens.slice(end - length, end).join();
  for (let at = end - 1; at >= length; at--) if (tokens.slice(at - length, at).join() === wanted) return at;
  return 0;
}

describe("an index of n-grams", () => {
  it("finds the last occurrence, as reading everything does", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3), { maxLength: 300 }), fc.integer({ min: 1, max: 5 }), (tokens, length) => {
        const index = new NgramIndex(length);
        for (let end = length; end <= tokens.length; end++) {
          expect(index.find(sourceOf(tokens), end)).toBe(lastEnd(tokens, length, end));
          index.insert(sourceOf(tokens), end);
          expect(index.find(sourceOf(tokens), end)).toBe(end);
        }
      }),
      { seed: 8, numRuns: 200 },
    );
  });

  it("finds each of many that differ, through every growth, and nothing after clear", () => {
    const tokens = tokensFrom(3, 5000, 60_000);
    const source = sourceOf(tokens);
    const index = new NgramIndex(2);
    for (let end = 2; end <= tokens.length; end++) index.insert(source, end);
    for (let end = 2; end <= tokens.length; end++) {
      const found = index.find(source, end);
      expect(tokens.slice(found - 2, found)).toEqual(tokens.slice(end - 2, end));
    }
    // Half full at most, and doubled only when it is: 8 to 16 bytes for each n-gram.
    expect(index.memoryBytes).toBeLessThanOrEqual(16 * tokens.length);
    index.clear();
    for (let end = 2; end <= tokens.length; end++) expect(index.find(source, end)).toBe(0);
  });

  it("takes one slot for an n-gram, however often it comes", () => {
    const index = new NgramIndex(3);
    const same = sourceOf(Array(10_000).fill(7));
    const { memoryBytes } = index;
    for (let end = 3; end <= 10_000; end++) index.insert(same, end);
    expect(index.memoryBytes).toBe(memoryBytes);
    expect(() => new NgramIndex(0)).toThrow("at least 1 token, got 0");
  });
});
