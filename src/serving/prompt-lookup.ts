/**
 * Prompt lookup decoding (A. Saxena, 2023): text that quotes, edits or repeats what is in its context continues as it
 * did there. The draft is what followed the last earlier occurrence of the sequence's longest known suffix.
 *
 * An occurrence may reach into the suffix itself, as in a run or a cycle of tokens; the draft then goes on copying from
 * its own beginning, as LZ77 does, so that a cycle is drafted as far as is asked for.
 */
import type { Drafter, TokenHistory } from "./drafter.ts";
import { NgramIndex } from "./ngram-index.ts";

/** Lengths of suffixes, tried in this order. A single token says too little: most are common in any text. */
const NGRAM_LENGTHS = [4, 3, 2] as const;

/** What lies further back is forgotten, so a sequence's indexes hold at most 3 × 2^14 positions: 196 KB. */
export const LOOKUP_WINDOW_TOKENS = 8192;

export class PromptLookupDrafter implements Drafter {
  readonly #windowTokens: number;
  readonly #indexes = NGRAM_LENGTHS.map((length) => new NgramIndex(length));
  /** N-grams that end at this position or before it are forgotten. */
  #start = 0;
  /** Every n-gram that ends at this position or before it is indexed. */
  #end = 0;

  /** @param windowTokens how far back it looks, at the least half of it */
  constructor(windowTokens: number = LOOKUP_WINDOW_TOKENS) {
    this.#windowTokens = windowTokens;
  }

  get memoryBytes(): number {
    return this.#indexes.reduce((sum, index) => sum + index.memoryBytes, 0);
  }

  propose(history: TokenHistory, numDraftsMax: number): number[] {
    const { numTokens } = history;
    this.#learn(history);
    for (const index of this.#indexes) {
      if (numTokens < index.length) continue;
      const source = index.find(history, numTokens);
      if (source > 0) return continuation(history, source, numDraftsMax);
    }
    return [];
  }

  /** Indexes all n-grams that have a token after them; the suffix, which has none, is only looked up. */
  #learn(history: TokenHistory): void {
    const end = history.numTokens - 1;
    if (end - this.#start > this.#windowTokens) {
      // Half a window is indexed again each half window: still O(1) for each token.
      this.#start = end - Math.floor(this.#windowTokens / 2);
      this.#end = this.#start;
      for (const index of this.#indexes) index.clear();
    }
    while (this.#end < end) {
      this.#end++;
      for (const index of this.#indexes) {
        if (this.#end >= index.length) index.insert(history, this.#end);
      }
    }
  }
}

/** What followed position `source`, and at the end of the history again what followed it. */
function continuation(history: TokenHistory, source: number, numDraftsMax: number): number[] {
  const period = history.numTokens - source;
  return Array.from({ length: numDraftsMax }, (_, i) => history.tokenAt(source + (i % period)));
}
