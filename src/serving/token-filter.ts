/**
 * Which tokens one choice may draw next, kept in step with its tokens: a grammar, tokens that alone are allowed, ends
 * that come too early, words that must not come, all at once. Where one rule alone decides, its own mask is handed out;
 * several are joined in a buffer of the filter's, so that no token makes garbage.
 *
 * The grammar goes before everything: where its text is whole and nothing but the end may follow, the answer is over,
 * also below `minTokens`.
 */
import type { GrammarCursor } from "../text/grammar/token-grammar.ts";
import { allows, allowsAny, intersect, isWithin, maskWords, strike } from "./token-mask.ts";
import type { TokenRules } from "./token-rules.ts";

/** "over": the grammar's text is whole, and only its end could follow. "stuck": the rules together leave no token. */
export type FilterState = "open" | "over" | "stuck";

export class TokenFilter {
  readonly #rules: TokenRules;
  readonly #cursor: GrammarCursor | null;
  #numTokens = 0;
  /** The last tokens, as many as forbidden words look back. */
  readonly #recent: number[];
  /** Of joined masks; null until there is one. */
  #joined: Uint32Array | null = null;
  #mask: Uint32Array | null = null;
  #state: FilterState = "open";

  /** Before the first token, or at the place of another filter with the same rules. */
  constructor(rules: TokenRules, origin: TokenFilter | null = null) {
    this.#rules = rules;
    if (origin === null) {
      this.#cursor = rules.grammar?.begin() ?? null;
      this.#recent = [];
    } else {
      this.#cursor = origin.#cursor?.clone() ?? null;
      this.#recent = origin.#recent.slice();
      this.#numTokens = origin.#numTokens;
    }
    this.#update();
  }

  /** What may come next, as in `RowSample.allowed`; valid until the next `accept`. */
  get mask(): Uint32Array | null {
    return this.#mask;
  }

  get state(): FilterState {
    return this.#state;
  }

  /** Goes on behind a token that was drawn with its mask. */
  accept(token: number): void {
    const { vocabSize, endIds, numRecent } = this.#rules;
    this.#numTokens++;
    if (numRecent > 0) {
      this.#recent.push(token);
      if (this.#recent.length > numRecent) this.#recent.shift();
    }
    if (this.#cursor?.isComplete && endIds.has(token)) {
      this.#state = "over";
      return;
    }
    if (this.#cursor?.accept(token) === false) {
      throw new Error(`Token ${token} (of ${vocabSize}) was drawn, which its grammar does not allow.`);
    }
    this.#update();
  }

  /** Would `token` have been in the mask? */
  allows(token: number): boolean {
    return this.#mask === null || allows(this.#mask, token);
  }

  /** One of its own at the same place. */
  clone(): TokenFilter {
    return new TokenFilter(this.#rules, this);
  }

  #update(): void {
    const { vocabSize, allowed, ends } = this.#rules;
    const own = this.#cursor === null ? null : this.#fitted(this.#cursor.mask());
    if (this.#cursor?.isComplete && isWithin(own!, ends)) {
      this.#state = "over";
      this.#mask = own;
      return;
    }
    const struck = this.#struckTokens();
    const hasEndsStruck = this.#numTokens < this.#rules.minTokens;
    if (struck.length === 0 && !hasEndsStruck && (own === null || allowed === null)) {
      this.#mask = own ?? allowed;
    } else {
      const mask = this.#join(own ?? allowed);
      if (own !== null && allowed !== null) intersect(mask, allowed);
      if (hasEndsStruck) strike(mask, this.#rules.earlyEnds);
      for (const token of struck) mask[token >> 5]! &= ~(1 << (token & 31));
      this.#mask = mask;
    }
    this.#state = this.#mask !== null && !allowsAny(this.#mask, vocabSize) ? "stuck" : "open";
  }

  /** A mask of the tokenizer's size as one of the model's, which may have rows for tokens that nobody knows. */
  #fitted(mask: Uint32Array): Uint32Array {
    return mask.length === maskWords(this.#rules.vocabSize) ? mask : this.#join(mask);
  }

  #join(mask: Uint32Array | null): Uint32Array {
    this.#joined ??= new Uint32Array(maskWords(this.#rules.vocabSize));
    const joined = this.#joined;
    if (mask === joined) return joined;
    joined.fill(mask === null ? 0xffffffff : 0);
    if (mask !== null) joined.set(mask.length > joined.length ? mask.subarray(0, joined.length) : mask);
    return joined;
  }

  /** Ends of forbidden words whose other tokens were just generated. */
  #struckTokens(): readonly number[] {
    const { badWords } = this.#rules;
    if (badWords.length === 0) return NONE;
    const recent = this.#recent;
    const struck: number[] = [];
    for (const word of badWords) {
      const numBefore = word.length - 1;
      const start = recent.length - numBefore;
      let numEqual = 0;
      while (start >= 0 && numEqual < numBefore && recent[start + numEqual] === word[numEqual]) numEqual++;
      if (numEqual === numBefore) struck.push(word[numBefore]!);
    }
    return struck;
  }
}

const NONE: readonly number[] = [];
