/** The contract on both builders and both alphabets, and both builders against each other. */
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { fromGguf } from "../../../src/text/from-gguf.ts";
import { fromTokenizerJson } from "../../../src/text/from-tokenizer-json.ts";
import type { LibraryTokenizer } from "../../../src/text/library-tokenizer.ts";
import { tokenizerContract } from "../../contract/tokenizer.contract.ts";
import {
  byteLevelJson,
  byteLevelMetadata,
  sentencePieceJson,
  sentencePieceMetadata,
  tinyByteLevel,
  tinySentencePiece,
  USER_DEFINED_TEXT,
} from "./tiny-vocabulary.ts";

const CONFIG = { eos_token: "<|im_end|>" };

function under(
  tokenizer: LibraryTokenizer,
  tokens: string[],
  controlTexts: string[],
  spaces: { addsSpace: boolean; readsMarkAsSpace: boolean },
) {
  return {
    tokenizer,
    control: Object.fromEntries(controlTexts.map((text) => [text, tokens.indexOf(text)])),
    userDefined: { text: USER_DEFINED_TEXT, id: tokens.indexOf(USER_DEFINED_TEXT) },
    ...spaces,
  };
}

const CHATML = ["<|im_start|>", "<|im_end|>"];
const byteLevel = (tokenizer: LibraryTokenizer) =>
  under(tokenizer, tinyByteLevel().tokens, [...CHATML, "<|endoftext|>"], { addsSpace: false, readsMarkAsSpace: false });
const sentencePiece = (tokenizer: LibraryTokenizer, addsSpace = true) =>
  under(tokenizer, tinySentencePiece().tokens, [...CHATML, "<s>", "</s>"], { addsSpace, readsMarkAsSpace: true });

tokenizerContract("GGUF, byte-level", () => byteLevel(fromGguf(byteLevelMetadata())));
tokenizerContract("GGUF, byte-level, ignoring merges", () =>
  byteLevel(fromGguf(byteLevelMetadata({ "tokenizer.ggml.pre": "llama-bpe" }))),
);
tokenizerContract("GGUF, SentencePiece", () => sentencePiece(fromGguf(sentencePieceMetadata())));
tokenizerContract("GGUF, SentencePiece without a space prefix", () =>
  sentencePiece(fromGguf(sentencePieceMetadata({ "tokenizer.ggml.add_space_prefix": false })), false),
);
tokenizerContract("tokenizer.json, byte-level", () => byteLevel(fromTokenizerJson(byteLevelJson(), CONFIG)));
tokenizerContract("tokenizer.json, SentencePiece", () =>
  sentencePiece(fromTokenizerJson(sentencePieceJson(), { eos_token: "</s>" })),
);

describe("one vocabulary in two files", () => {
  const text = fc.string({ unit: fc.constantFrom(..."the cat sat\n 1984'll,éc你🙂<|im_end|>"), maxLength: 60 });

  test("byte-level ids are the same from GGUF and from tokenizer.json", () => {
    const gguf = fromGguf(byteLevelMetadata());
    const json = fromTokenizerJson(byteLevelJson(), CONFIG);
    fc.assert(
      fc.property(text, fc.boolean(), (text, parseSpecial) => {
        const options = { addSpecialTokens: true, parseSpecial };
        expect(json.encode(text, options)).toEqual(gguf.encode(text, options));
      }),
      { numRuns: 500 },
    );
    expect(json.endOfGenerationIds).toEqual(gguf.endOfGenerationIds);
  });
});
