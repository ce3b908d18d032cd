import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Utf8Detokenizer } from "../../../src/text/detokenizer.ts";
import { fromGguf } from "../../../src/text/from-gguf.ts";
import { sentencePieceMetadata, tinySentencePiece } from "./tiny-vocabulary.ts";

/** One token for each of the given byte strings. */
function detokenizerOf(tokens: Uint8Array[]): Utf8Detokenizer {
  return new Utf8Detokenizer({ pieceBytes: (id) => tokens[id]!, prefixedAfterId: null });
}

function stream(tokens: Uint8Array[]): string[] {
  const detokenizer = detokenizerOf(tokens);
  return [...tokens.map((_, id) => detokenizer.push(id)), detokenizer.flush()];
}

function whole(tokens: Uint8Array[]): string {
  const bytes = Uint8Array.from(tokens.flatMap((token) => [...token]));
  return new TextDecoder("utf-8", { ignoreBOM: true, fatal: false }).decode(bytes);
}

/** Bytes of text, and of nothing, cut anywhere. */
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 24 }),
  fc.array(
    fc.constantFrom(0xf0, 0x9f, 0x99, 0x82, 0xe4, 0xbd, 0xa0, 0xc3, 0xa9, 0xed, 0xa0, 0x80, 0xef, 0xbb, 0xbf, 0x41),
  ),
  fc.string({ unit: "binary", maxLength: 24 }).map((text) => new TextEncoder().encode(text)),
);

function cut(bytes: ArrayLike<number>, lengths: readonly number[]): Uint8Array[] {
  const rest = Uint8Array.from(bytes as ArrayLike<number>);
  const pieces: Uint8Array[] = [];
  let start = 0;
  for (const length of lengths) {
    pieces.push(rest.slice(start, start + length));
    start += length;
  }
  return [...pieces, rest.slice(start)];
}

describe("Utf8Detokenizer", () => {
  test("pieces add up to the decoding of all bytes at once, for any bytes and cuts", () => {
    fc.assert(
      fc.property(anyBytes, fc.array(fc.nat(5), { maxLength: 30 }), (bytes, lengths) => {
        const tokens = cut(bytes, lengths);
        expect(stream(tokens).join("")).toBe(whole(tokens));
      }),
      { numRuns: 5000 },
    );
  });

  test("valid text never shows U+FFFD or half a character", () => {
    const text = fc.string({ unit: "binary", maxLength: 20 }).filter((each) => !each.includes("\ufffd"));
    fc.assert(
      fc.property(text, fc.array(fc.nat(3), { maxLength: 60 }), (text, lengths) => {
        const pieces = stream(cut(new TextEncoder().encode(text), lengths));
        expect(pieces.join("")).toBe(text);
        for (const piece of pieces) expect(piece.includes("\ufffd") || !piece.isWellFormed()).toBe(false);
      }),
      { numRuns: 3000 },
    );
  });

  test("a character comes out with its last byte", () => {
    const bytes = [...new TextEncoder().encode("🙂é")].map((byte) => Uint8Array.of(byte));
    expect(stream(bytes)).toEqual(["", "", "", "🙂", "", "é", ""]);
  });

  test("bytes that never become a character come out as U+FFFD", () => {
    expect(stream([Uint8Array.of(0xf0, 0x9f), Uint8Array.of(0x41)])).toEqual(["", "\ufffdA", ""]);
    expect(stream([Uint8Array.of(0xe4, 0xbd)])).toEqual(["", "\ufffd"]);
    expect(stream([Uint8Array.of(0xff), Uint8Array.of(0xc0, 0x80)])).toEqual(["\ufffd", "\ufffd\ufffd", ""]);
  });

  test("a byte order mark is text", () => {
    expect(stream([Uint8Array.of(0xef, 0xbb, 0xbf, 0x41)]).join("")).toBe("\ufeffA");
  });
});

describe("leading spaces of SentencePiece", () => {
  const { tokens } = tinySentencePiece();
  const tokenizer = fromGguf(sentencePieceMetadata());
  const the = tokens.indexOf("\u2581the");
  const bos = 1;

  test("generated text keeps the space of its first word", () => {
    expect(tokenizer.decode([the, the])).toBe(" the the");
  });

  test("after a first BOS the space that encode() added is taken off, once", () => {
    expect(tokenizer.decode([bos, the, the])).toBe("the the");
    expect(tokenizer.decode([the, bos, the])).toBe(" the the");
    expect(tokenizer.decode([bos, bos, the])).toBe("the");
  });

  test("printed control tokens keep it", () => {
    expect(tokenizer.decode([bos, the], { keepControl: true })).toBe("<s> the");
  });

  test("only a space is taken off", () => {
    expect(tokenizer.decode([bos, tokens.indexOf("<0x0A>"), the])).toBe("\n the");
  });
});
