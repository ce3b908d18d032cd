/** Tokenizers for grammars: nothing but bytes and roles, so a test can have any tokens it wants. */
import type { Tokenizer } from "../../../../src/text/tokenizer.ts";

export interface TestVocabulary extends Tokenizer {
  endId: number;
  controlId: number;
}

const encoder = new TextEncoder();

/**
 * The 256 bytes, an end-of-generation token (256), a control token (257), then `words`.
 *
 * @param withoutBytes bytes that no token stands for alone
 */
export function testVocabulary(
  words: readonly (string | Uint8Array)[],
  withoutBytes: (byte: number) => boolean = () => false,
): TestVocabulary {
  const bytes = [
    ...Array.from({ length: 256 }, (_, byte) => (withoutBytes(byte) ? new Uint8Array(0) : Uint8Array.of(byte))),
    new Uint8Array(0),
    new Uint8Array(0),
    ...words.map((word) => (typeof word === "string" ? encoder.encode(word) : word)),
  ];
  const unused = () => {
    throw new Error("Grammars neither encode nor decode.");
  };
  return {
    vocabSize: bytes.length,
    bosId: null,
    endId: 256,
    controlId: 257,
    endOfGenerationIds: new Set([256]),
    tokenBytes: (id) => bytes[id] ?? new Uint8Array(0),
    isControl: (id) => id === 256 || id === 257,
    encode: unused,
    decode: unused,
    detokenizer: unused,
  };
}

/** What JSON is made of in real vocabularies, and characters cut in half. */
export const JSON_WORDS: readonly (string | Uint8Array)[] = [
  ...[
    '{"',
    '":',
    '": "',
    '","',
    '", "',
    '"}',
    '"]',
    "[{",
    "}]",
    "},",
    "}}",
    "[]",
    "{}",
    ': "',
    ", ",
    '["',
    ":[",
    '":"',
  ],
  ...[
    "true",
    "false",
    "null",
    "tr",
    "ue",
    "al",
    "se",
    "12",
    "123",
    "00",
    "000",
    ".5",
    "0.",
    "-1",
    "e+",
    "1e",
    "2024-",
    "T12:",
  ],
  ...[
    "the",
    " the",
    "name",
    "value",
    "hello",
    "abc",
    "aa",
    "ab",
    "ba",
    "é",
    "ü",
    "日本",
    "😀",
    "\\n",
    "\\u",
    '\\"',
    "\n",
    "  ",
    " \n",
  ],
  Uint8Array.of(0xc3),
  Uint8Array.of(0xa9, 0x22),
  Uint8Array.of(0xf0, 0x9f),
  Uint8Array.of(0x98, 0x80),
];

export function tokensIn(mask: Uint32Array, vocabSize: number): number[] {
  const ids: number[] = [];
  for (let id = 0; id < vocabSize; id++) if (((mask[id >> 5]! >>> (id & 31)) & 1) === 1) ids.push(id);
  return ids;
}
