/**
 * For random grammars and every place that a random walk comes to: a token is in the mask exactly if `accept` takes it,
 * exactly if some whole text begins like that, by the slow way of derivatives.
 */
import { describe, expect, test } from "vitest";
import { ApiError } from "../../../../src/protocol/errors.ts";
import {
  chars,
  choice,
  type Expression,
  literal,
  type Rule,
  repeat,
  rule,
  ruleRef,
  sequence,
} from "../../../../src/text/grammar/expression.ts";
import { GrammarCompiler } from "../../../../src/text/grammar/grammar-compiler.ts";
import type { GrammarCursor, TokenGrammar } from "../../../../src/text/grammar/token-grammar.ts";
import { uniformSource } from "../../../support/random.ts";
import { derivative, matchesEmpty, matchesSome, TooAmbiguous } from "./derivatives.ts";
import { type TestVocabulary, testVocabulary, tokensIn } from "./vocabulary.ts";

/** Words of the grammars' letters, also twice, halves of characters, and what crosses them. */
const WORDS = [
  ...["a", "b", "c", "aa", "ab", "ba", "abc", "aaa", "bb", "cab", "é", "aé", "€", "😀", "bbbb", "aaaaaaaaaaaaaaaaaaa"],
  ...[[0xc3], [0xa9, 0x61], [0xe2, 0x82], [0xac], [0xf0, 0x9f], [0x98, 0x80, 0x62], [0x61, 0xc3]].map((bytes) =>
    Uint8Array.from(bytes),
  ),
];

const NUM_GRAMMARS = 300;

class GrammarSource {
  readonly #uniform: () => number;
  #rules: Rule[] = [];

  constructor(uniform: () => number) {
    this.#uniform = uniform;
  }

  grammar(): Expression {
    this.#rules = [rule("r0"), rule("r1")];
    for (const one of this.#rules) {
      // Behind a letter, so that no rule begins with itself; with a way out of it.
      const body = sequence(this.#letter(), this.#expression(2));
      one.body = choice(body, literal(this.#pick(["a", "b", "é"])));
    }
    return this.#expression(3);
  }

  #expression(depth: number): Expression {
    const kinds = [() => this.#letter(), () => literal(this.#pick(["ab", "", "é", "abc", "😀b", "€"]))];
    if (depth > 0) {
      const inner = () => this.#expression(depth - 1);
      kinds.push(
        () => sequence(inner(), inner()),
        () => sequence(inner(), inner(), inner()),
        () => choice(inner(), inner()),
        () => repeat(inner(), 0, null),
        () => repeat(inner(), this.#int(0, 3), this.#int(3, 30)),
        () => repeat(inner(), this.#int(0, 2), null),
        () => ruleRef(this.#pick(this.#rules)),
      );
    }
    return this.#pick(kinds)();
  }

  #letter(): Expression {
    return this.#pick([chars(0x61, 0x62), chars(0x61, 0x63), chars(0xe9, 0xe9), chars(0x61, 0x61, 0x20ac, 0x20ac)]);
  }

  #int(low: number, high: number): number {
    return low + Math.floor(this.#uniform() * (high - low + 1));
  }

  #pick<T>(options: readonly T[]): T {
    return options[Math.floor(this.#uniform() * options.length)]!;
  }
}

/** null where the grammar matches nothing. */
function compiled(expression: Expression, vocabulary: TestVocabulary): TokenGrammar | null {
  try {
    return new GrammarCompiler(vocabulary).compileParts(expression, "grammar");
  } catch (cause) {
    if (cause instanceof ApiError) return null;
    throw cause;
  }
}

function rest(expression: Expression, bytes: Uint8Array): Expression {
  return bytes.reduce((left: Expression, byte) => derivative(left, byte), expression);
}

/** Runs `check` on many random grammars, but for those that derivatives are too slow for. @returns how many there were */
function withGrammars(
  seed: number,
  vocabulary: TestVocabulary,
  check: (grammar: TokenGrammar, left: Expression, uniform: () => number) => void,
): number {
  const uniform = uniformSource(seed);
  const source = new GrammarSource(uniform);
  let numChecked = 0;
  for (let i = 0; i < NUM_GRAMMARS; i++) {
    const expression = source.grammar();
    const grammar = compiled(expression, vocabulary);
    if (grammar === null) continue;
    try {
      check(grammar, expression, uniform);
      numChecked++;
    } catch (cause) {
      if (!(cause instanceof TooAmbiguous)) throw cause;
    }
  }
  return numChecked;
}

describe("random grammars", () => {
  test("mask, accept and derivatives agree on every token", () => {
    const vocabulary = testVocabulary(WORDS);
    const candidates = Array.from({ length: vocabulary.vocabSize }, (_, id) => id).filter(
      (id) => id >= 256 || [0x61, 0x62, 0x63, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x00].includes(id),
    );
    const numChecked = withGrammars(7, vocabulary, (grammar, expression, uniform) => {
      const cursor = grammar.begin();
      let left = expression;
      for (let step = 0; step < 8; step++) {
        const ids = checkPlace(cursor, left, vocabulary, candidates).filter((id) => id !== vocabulary.endId);
        if (ids.length === 0) break;
        const id = ids[Math.floor(uniform() * ids.length)]!;
        expect(cursor.accept(id)).toBe(true);
        left = rest(left, vocabulary.tokenBytes(id));
      }
    });
    expect(numChecked).toBeGreaterThan(NUM_GRAMMARS / 2);
  });

  test("without tokens for single bytes a mask is never empty, and whatever comes can be completed", () => {
    // Half of the characters and one letter can only be reached by longer tokens, or not at all.
    const vocabulary = testVocabulary(WORDS, (byte) => byte >= 0x80 || byte === 0x62);
    const numChecked = withGrammars(11, vocabulary, (grammar, expression, uniform) => {
      const cursor = grammar.begin();
      let left = expression;
      for (let step = 0; step < 30; step++) {
        const ids = tokensIn(cursor.mask(), vocabulary.vocabSize);
        expect(ids.length).toBeGreaterThan(0);
        const id = ids[Math.floor(uniform() * ids.length)]!;
        expect(cursor.accept(id)).toBe(true);
        if (id === vocabulary.endId) break;
        left = rest(left, vocabulary.tokenBytes(id));
        expect(matchesSome(left)).toBe(true);
        expect(cursor.isComplete).toBe(matchesEmpty(left));
      }
    });
    expect(numChecked).toBeGreaterThan(NUM_GRAMMARS / 4);
  });
});

/** @returns the tokens of the mask */
function checkPlace(
  cursor: GrammarCursor,
  left: Expression,
  vocabulary: TestVocabulary,
  candidates: readonly number[],
): number[] {
  const mask = cursor.mask();
  expect(mask.length).toBe(Math.ceil(vocabulary.vocabSize / 32));
  expect(mask.at(-1)! >>> (vocabulary.vocabSize & 31 || 32)).toBe(0);
  expect(cursor.isComplete).toBe(matchesEmpty(left));
  const ids = tokensIn(mask, vocabulary.vocabSize);
  expect(ids.length).toBeGreaterThan(0);
  for (const id of candidates) {
    const bytes = vocabulary.tokenBytes(id);
    const isViable = bytes.length > 0 ? matchesSome(rest(left, bytes)) : id === vocabulary.endId && matchesEmpty(left);
    expect(ids.includes(id), `token ${id} in the mask`).toBe(isViable);
    const copy = cursor.clone();
    expect(copy.accept(id), `token ${id} accepted`).toBe(isViable);
  }
  expect(cursor.mask()).toEqual(mask);
  return ids;
}
