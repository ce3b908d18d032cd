/** The ids themselves, against the two merge algorithms written down in their slow, obvious form. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromGguf } from "../../../src/text/from-gguf.ts";
import { TOKEN_KIND } from "../../../src/text/vocabulary.ts";
import {
  byteCharacter,
  byteLevelMetadata,
  mergedWord,
  sentencePieceMetadata,
  tinyByteLevel,
  tinySentencePiece,
} from "./tiny-vocabulary.ts";

const PLAIN = { addSpecialTokens: false, parseSpecial: false };
const words = fc.string({ unit: fc.constantFrom(..."theca tsadonm.Li1y's\n<>/é你"), maxLength: 40 });

describe("byte-level BPE", () => {
  const { tokens, merges } = tinyByteLevel();
  const tokenizer = fromGguf(byteLevelMetadata());

  /** Every merge in order of rank, each at every place: what the merge table means. */
  function reference(text: string): number[] {
    const pieces = text.match(/'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu) ?? [];
    return pieces.flatMap((piece) => {
      let word = Array.from(new TextEncoder().encode(piece), byteCharacter);
      for (let isDone = false; !isDone; ) {
        const next = merges.find(([left, right]) => word.some((part, i) => part === left && word[i + 1] === right));
        if (next === undefined) isDone = true;
        else word = mergedWord(word, next);
      }
      return word.map((part) => tokens.indexOf(part));
    });
  }

  test("gives the ids of the naive algorithm", () => {
    fc.assert(
      fc.property(words, (text) => {
        expect(tokenizer.encode(text, PLAIN)).toEqual(reference(text));
      }),
      { numRuns: 500 },
    );
    expect(tokenizer.encode("the cat", PLAIN)).toHaveLength(2);
  });
});

describe("SentencePiece BPE", () => {
  const { tokens, scores, kinds } = tinySentencePiece();
  const tokenizer = fromGguf(sentencePieceMetadata());

  /** Joins the neighbours with the best-scored union, the leftmost of equal ones, until none is a token. */
  function reference(text: string): number[] {
    const normal = new Map(
      tokens.flatMap((token, id) => (kinds[id] === TOKEN_KIND.NORMAL ? [[token, id] as const] : [])),
    );
    const word = Array.from(text === "" ? "" : ` ${text}`.replaceAll(" ", "\u2581"));
    for (;;) {
      let best = -1;
      let bestScore = Number.NEGATIVE_INFINITY;
      for (let i = 0; i + 1 < word.length; i++) {
        const id = normal.get(word[i]! + word[i + 1]!);
        if (id !== undefined && scores[id]! > bestScore) [best, bestScore] = [i, scores[id]!];
      }
      if (best < 0) break;
      word.splice(best, 2, word[best]! + word[best + 1]!);
    }
    return word.flatMap((part) => {
      const id = normal.get(part);
      // "c" is no token of its own, so it falls back to bytes unless a piece takes it up.
      return id === undefined ? Array.from(new TextEncoder().encode(part), (byte) => 3 + byte) : [id];
    });
  }

  test("gives the ids of the naive algorithm, ties and byte fallback included", () => {
    fc.assert(
      fc.property(words, (text) => {
        expect(tokenizer.encode(text, PLAIN)).toEqual(reference(text));
      }),
      { numRuns: 1000 },
    );
  });

  test("does not join pieces of a control token's text into the control token", () => {
    const texts = tokenizer.encode("</s>", PLAIN).map((id) => tokens[id]);
    expect(texts).toEqual(["\u2581", "</", "s>"]);
  });

  test("puts the space prefix after every special token, and not where a text goes on", () => {
    const space = tokens.indexOf("\u2581");
    const end = tokens.indexOf("<|im_end|>");
    const options = { addSpecialTokens: false, parseSpecial: true };
    expect(tokenizer.encode("<|im_end|>.", options)).toEqual([end, space, tokens.indexOf(".")]);
    expect(tokenizer.encode(".<|im_end|>.", { ...options, continues: true })).toEqual([
      tokens.indexOf("."),
      end,
      space,
      tokens.indexOf("."),
    ]);
  });
});
