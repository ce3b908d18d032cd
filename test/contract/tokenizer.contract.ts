/**
 * What every `Tokenizer` keeps, whatever file its vocabulary came from. Run it on each builder:
 * `tokenizerContract("from GGUF, byte-level", () => ({ … }))`.
 */
import * as fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import type { Tokenizer } from "../../src/text/tokenizer.ts";

export interface TokenizerUnderTest {
  tokenizer: Tokenizer;
  /** Texts of control tokens with their ids. */
  control: Record<string, number>;
  userDefined: { text: string; id: number };
  /** True where encode() puts a space in front of a text. */
  addsSpace: boolean;
  /** True where U+2581 in a text is a space, as in SentencePiece, which writes spaces that way. */
  readsMarkAsSpace: boolean;
}

const PLAIN = { addSpecialTokens: false, parseSpecial: false };

export function tokenizerContract(name: string, make: () => TokenizerUnderTest): void {
  describe(`tokenizer contract: ${name}`, () => {
    let under: TokenizerUnderTest;
    let tokenizer: Tokenizer;
    beforeAll(() => {
      under = make();
      tokenizer = under.tokenizer;
    });

    /** Words, spaces, any Unicode, control texts and pieces of them. */
    const anyText = () => {
      const special = [...Object.keys(under.control), under.userDefined.text];
      const piece = fc.oneof(
        fc.constantFrom(
          "the",
          " cat",
          "\n",
          "  ",
          "1984",
          "'s",
          "é",
          "你好",
          "🙂",
          "<",
          "|>",
          "\u0000",
          "\ufeff",
          "\u2581",
        ),
        fc.constantFrom(
          ...special,
          ...special.map((text) => text.slice(0, -1)),
          ...special.map((text) => text.slice(2)),
        ),
        fc.string({ unit: "grapheme", maxLength: 6 }),
      );
      return fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(""));
    };
    const printed = (text: string) => (under.readsMarkAsSpace ? text.replaceAll("\u2581", " ") : text);
    const prefixed = (text: string) => printed(under.addsSpace && text !== "" ? ` ${text}` : text);
    const holds = (check: (text: string) => void) => fc.assert(fc.property(anyText(), check), { numRuns: 400 });

    test("the bytes of a text's tokens are the bytes of the text", () => {
      const bytesOf = (ids: number[]) => ids.flatMap((id) => [...tokenizer.tokenBytes(id)]);
      holds((text) => {
        // A user-defined token starts a new stretch of text, and with it a new space.
        fc.pre(!under.addsSpace || !text.includes(under.userDefined.text));
        const utf8 = [...new TextEncoder().encode(prefixed(text))];
        expect(bytesOf(tokenizer.encode(text, PLAIN))).toEqual(utf8);
      });
    });

    test("a text that starts with BOS decodes to itself", () => {
      holds((text) => {
        fc.pre(!under.addsSpace || !text.includes(under.userDefined.text));
        const ids = tokenizer.encode(text, { addSpecialTokens: true, parseSpecial: false });
        expect(ids[0]).toBe(tokenizer.bosId);
        expect(tokenizer.decode(ids)).toBe(printed(text));
      });
    });

    test("ids lie in the vocabulary", () => {
      holds((text) => {
        for (const id of tokenizer.encode(text, { addSpecialTokens: true, parseSpecial: true })) {
          expect(Number.isInteger(id) && id >= 0 && id < tokenizer.vocabSize).toBe(true);
        }
      });
    });

    test("without parseSpecial no text becomes a control token", () => {
      holds((text) => {
        expect(tokenizer.encode(text, PLAIN).filter((id) => tokenizer.isControl(id))).toEqual([]);
      });
    });

    test("with parseSpecial control tokens are read where they stand", () => {
      for (const [text, id] of Object.entries(under.control)) {
        const ids = tokenizer.encode(`cat${text}the`, { addSpecialTokens: false, parseSpecial: true });
        expect(ids.filter((each) => tokenizer.isControl(each))).toEqual([id]);
        expect(ids).toEqual([...tokenizer.encode("cat", PLAIN), id, ...tokenizer.encode("the", PLAIN)]);
      }
    });

    test("user-defined tokens are always read, and are text", () => {
      const { text, id } = under.userDefined;
      for (const parseSpecial of [false, true]) {
        expect(tokenizer.encode(text, { addSpecialTokens: false, parseSpecial })).toEqual([id]);
      }
      expect(tokenizer.isControl(id)).toBe(false);
      expect(new TextDecoder().decode(tokenizer.tokenBytes(id))).toBe(text);
    });

    test("control tokens and ids outside the vocabulary have no bytes", () => {
      for (const id of [...Object.values(under.control), -1, tokenizer.vocabSize, 1e9]) {
        expect(tokenizer.tokenBytes(id)).toEqual(new Uint8Array(0));
      }
    });

    test("control tokens print only when asked", () => {
      for (const [text, id] of Object.entries(under.control)) {
        expect(tokenizer.decode([id])).toBe("");
        expect(tokenizer.decode([id], { keepControl: true })).toBe(text);
      }
    });

    test("end-of-generation tokens are control tokens", () => {
      expect(tokenizer.endOfGenerationIds.size).toBeGreaterThan(0);
      for (const id of tokenizer.endOfGenerationIds) expect(tokenizer.isControl(id)).toBe(true);
    });

    test("any ids, pushed one by one, print what decode() prints, in whole characters", () => {
      const anyIds = fc.array(fc.integer({ min: -1, max: tokenizer.vocabSize }), { maxLength: 40 });
      fc.assert(
        fc.property(anyIds, fc.boolean(), (ids, keepControl) => {
          const detokenizer = tokenizer.detokenizer({ keepControl });
          const pieces = [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
          expect(pieces.join("")).toBe(tokenizer.decode(ids, { keepControl }));
          for (const piece of pieces) expect(piece.isWellFormed()).toBe(true);
        }),
        { numRuns: 400 },
      );
    });

    test("an unpaired surrogate is encoded as U+FFFD", () => {
      expect(tokenizer.encode("a\ud800b", PLAIN)).toEqual(tokenizer.encode("a\ufffdb", PLAIN));
    });
  });
}
