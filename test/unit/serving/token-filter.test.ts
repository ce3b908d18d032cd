/** Which tokens rules leave, alone and together. */
import { describe, expect, it } from "vitest";
import type { GenerateRequest } from "../../../src/protocol/generate.ts";
import { TokenFilter } from "../../../src/serving/token-filter.ts";
import { allows, allowsAny, maskOf, onlyToken } from "../../../src/serving/token-mask.ts";
import { joinRules, type TokenRules, tokenRulesOf } from "../../../src/serving/token-rules.ts";
import type { TokenGrammar } from "../../../src/text/grammar/token-grammar.ts";
import { END_ID } from "./byte-tokenizer.ts";
import { anyOfGrammar, textsGrammar } from "./hand-made-grammars.ts";
import { tokenizer } from "./world.ts";

const VOCAB = tokenizer.vocabSize;
const id = (text: string) => tokenizer.encode(text, { addSpecialTokens: false, parseSpecial: false });
const [A, B, C] = id("abc") as [number, number, number];

function rulesOf(changes: Partial<GenerateRequest> & { grammar?: TokenGrammar; vocabSize?: number }): TokenRules {
  const { grammar, vocabSize = VOCAB, ...fields } = changes;
  const neutral = { minTokens: 0, allowedTokenIds: null, badWords: [], stopTokenIds: [] };
  return joinRules({ ...neutral, ignoreEos: false, ...fields }, grammar ?? null, tokenizer, vocabSize);
}

function filterOf(changes: Parameters<typeof rulesOf>[0], tokens: number[] = []): TokenFilter {
  const filter = new TokenFilter(rulesOf(changes));
  for (const token of tokens) filter.accept(token);
  return filter;
}

/** Tokens that may come. */
const next = (filter: TokenFilter): number[] =>
  Array.from({ length: VOCAB }, (_, token) => token).filter((token) => filter.allows(token));

const without = (...tokens: number[]): number[] =>
  Array.from({ length: VOCAB }, (_, token) => token).filter((token) => !tokens.includes(token));

describe("masks of tokens", () => {
  it("know whether they have any, one or several", () => {
    for (const token of [0, 31, 32, 63, 70]) {
      const mask = maskOf([token], 71);
      expect([allowsAny(mask, 71), onlyToken(mask), allows(mask, token)]).toEqual([true, token, true]);
      expect(onlyToken(maskOf([token, 5], 71))).toBe(null);
    }
    expect([allowsAny(maskOf([], 71), 71), onlyToken(maskOf([], 71))]).toEqual([false, null]);
    expect(allowsAny(Uint32Array.of(0, 0, 1 << 7), 71)).toBe(false);
    expect(allowsAny(Uint32Array.of(0, 0, 1 << 6), 71)).toBe(true);
  });
});

describe("a filter", () => {
  it("is not there where nothing is asked", () => {
    const asksNothing = { constraint: null, minTokens: 0, allowedTokenIds: null, badWords: [], stopTokenIds: [7] };
    expect(tokenRulesOf({ ...asksNothing, ignoreEos: false, beams: null }, tokenizer, VOCAB)).toBeNull();
  });

  it("keeps ends away until there are enough tokens", () => {
    const early = filterOf({ minTokens: 2, stopTokenIds: [B] }, [A]);
    expect(next(early)).toEqual(without(END_ID, B));
    early.accept(C);
    expect(early.mask).toBeNull();
    // What does not end an answer is nothing to keep away.
    expect(next(filterOf({ minTokens: 2, stopTokenIds: [B], ignoreEos: true }))).toEqual(without(B));
  });

  it("has the allowed tokens only", () => {
    const filter = filterOf({ allowedTokenIds: [C, A] });
    expect(next(filter)).toEqual([A, C]);
    filter.accept(A);
    expect(next(filter)).toEqual([A, C]);
  });

  it("strikes a word of one token always, and the end of a longer one behind its beginning", () => {
    const filter = filterOf({ badWords: ["a", "bcb"] });
    const space = id(" ")[0]!;
    expect(next(filter)).toEqual(without(A));
    for (const [token, struck] of [
      [B, [A]],
      [C, [A, B]],
      [space, [A]],
      [B, [A]],
      [C, [A, B]],
      [C, [A]],
    ] as const) {
      filter.accept(token);
      expect(next(filter)).toEqual(without(...struck));
    }
  });

  it("strikes a word behind a space, too, where that is another token than the bare one", () => {
    const space = id(" ")[0]!;
    expect(rulesOf({ badWords: [" a"] })).toMatchObject({ badWords: [[space, A]] });
    expect(next(filterOf({ badWords: [" a"] }))).toEqual(without(A));
  });

  it("joins all rules, without changing the masks of the grammar", () => {
    const grammar = anyOfGrammar([A, B, C], [END_ID], VOCAB);
    const filter = filterOf({ grammar, minTokens: 2, allowedTokenIds: [END_ID, A, B], badWords: ["b"] });
    expect(next(filter)).toEqual([A]);
    filter.accept(A);
    expect(next(filter)).toEqual([A]);
    filter.accept(A);
    expect(next(filter)).toEqual([END_ID, A]);
    expect(filter.state).toBe("open");
    filter.accept(END_ID);
    expect(filter.state).toBe("over");
  });

  it("is over when only the end can follow, also below minTokens", () => {
    const grammar = textsGrammar([[A], [B, C]], [END_ID], VOCAB);
    expect(filterOf({ grammar, minTokens: 9 }, [A]).state).toBe("over");
    const other = filterOf({ grammar }, [B]);
    expect([other.state, next(other)]).toEqual(["open", [C]]);
    other.accept(C);
    expect(other.state).toBe("over");
  });

  it("is stuck where the rules leave nothing", () => {
    const grammar = textsGrammar([[A, B]], [END_ID], VOCAB);
    expect(filterOf({ grammar, badWords: ["b"] }, [A]).state).toBe("stuck");
  });

  it("refuses a token that its grammar does not have", () => {
    const filter = filterOf({ grammar: textsGrammar([[A, B]], [END_ID], VOCAB) });
    expect(() => filter.accept(C)).toThrow(/which its grammar does not allow/);
  });

  it("has clones that go their own way", () => {
    const filter = filterOf({ grammar: anyOfGrammar([A, B], [END_ID], VOCAB), minTokens: 1, badWords: ["ab"] });
    const other = filter.clone();
    other.accept(A);
    expect(next(other)).toEqual([END_ID, A]);
    expect(next(filter)).toEqual([A, B]);
    filter.accept(B);
    expect(next(filter)).toEqual([END_ID, A, B]);
    expect(next(other)).toEqual([END_ID, A]);
  });

  it("fits a tokenizer's masks to a model with more rows, or fewer", () => {
    const grammar = anyOfGrammar([A, B], [END_ID], VOCAB);
    const padded = filterOf({ grammar, vocabSize: VOCAB + 64 });
    expect([padded.mask!.length, next(padded)]).toEqual([Math.ceil((VOCAB + 64) / 32), [A, B]]);
    padded.accept(A);
    expect(next(padded)).toEqual([END_ID, A, B]);
    const wide = anyOfGrammar([A, VOCAB + 40], [END_ID], VOCAB + 64);
    expect(next(filterOf({ grammar: wide }))).toEqual([A]);
  });
});

describe("rules are refused", () => {
  it("where they allow nothing to begin with", () => {
    const grammar = textsGrammar([[A]], [END_ID], VOCAB);
    expect(() => rulesOf({ grammar, allowedTokenIds: [B] })).toThrow(/allows no token at all/);
    expect(() => rulesOf({ allowedTokenIds: [A], badWords: ["a"] })).toThrow(/allows no token at all/);
    expect(() => rulesOf({ allowedTokenIds: [END_ID], minTokens: 1 })).toThrow(/allows no token at all/);
  });

  it("with ids that the model does not have, and with a search", () => {
    expect(() => rulesOf({ allowedTokenIds: [VOCAB] })).toThrow(/Token id \d+ is not one of this model's/);
    const beams = { width: 2, lengthPenalty: 1, stopsEarly: false };
    const asked = { constraint: null, minTokens: 1, allowedTokenIds: null, badWords: [], stopTokenIds: [] };
    expect(() => tokenRulesOf({ ...asked, ignoreEos: false, beams }, tokenizer, VOCAB)).toThrow(
      /Beam search draws no tokens/,
    );
  });
});
