import { describe, expect, test } from "vitest";
import { ModelError } from "../../../src/model/errors.ts";
import type { GgufValue } from "../../../src/model/gguf.ts";
import { BPE_SPLIT_RULES } from "../../../src/text/bpe-split-rules.ts";
import { fromGguf } from "../../../src/text/from-gguf.ts";
import {
  byteLevelMetadata,
  sentencePieceMetadata,
  tinyByteLevel,
  tinySentencePiece,
  USER_DEFINED_TEXT,
} from "./tiny-vocabulary.ts";

const PLAIN = { addSpecialTokens: false, parseSpecial: false };
const SPECIAL = { addSpecialTokens: false, parseSpecial: true };

function without(file: { metadata: Map<string, GgufValue> }, key: string) {
  file.metadata.delete(`tokenizer.ggml.${key}`);
  return file;
}

describe("files that cannot be tokenized", () => {
  const bpe = byteLevelMetadata;
  const spm = sentencePieceMetadata;
  test.each([
    ["no model", without(bpe(), "model"), "missing", "has no 'tokenizer.ggml.model'"],
    [
      "an unknown model",
      bpe({ "tokenizer.ggml.model": "rwkv" }),
      "unsupported_type",
      "'rwkv' is not supported. Known: gpt2, llama.",
    ],
    [
      "an unknown split rule",
      bpe({ "tokenizer.ggml.pre": "nope" }),
      "unsupported_type",
      /'nope' .* Known: default, gpt-2, .*qwen2/,
    ],
    ["no tokens", without(bpe(), "tokens"), "missing", "'tokenizer.ggml.tokens'"],
    ["no merges", without(bpe(), "merges"), "missing", "'tokenizer.ggml.merges'"],
    ["no scores", without(spm(), "scores"), "missing", "'tokenizer.ggml.scores'"],
    [
      "tokens that are numbers",
      bpe({ "tokenizer.ggml.tokens": new Int32Array(4) }),
      "corrupt",
      "has to be an array of strings and is Int32Array",
    ],
    [
      "too few types",
      bpe({ "tokenizer.ggml.token_type": new Int32Array(3) }),
      "corrupt",
      "3 entries for a vocabulary of",
    ],
    [
      "too few scores",
      spm({ "tokenizer.ggml.scores": new Float32Array(3) }),
      "corrupt",
      "3 entries for a vocabulary of",
    ],
    ["a merge of one", bpe({ "tokenizer.ggml.merges": ["ab"] }), "corrupt", 'entry 0, "ab", is no pair'],
    ["a flag that is a text", bpe({ "tokenizer.ggml.add_bos_token": "yes" }), "corrupt", "a boolean and is string"],
    ["BOS without an id", without(bpe(), "bos_token_id"), "missing", "'tokenizer.ggml.add_bos_token' is true"],
    [
      "BOS out of range",
      bpe({ "tokenizer.ggml.bos_token_id": 1e6 }),
      "missing",
      "no valid 'tokenizer.ggml.bos_token_id'",
    ],
  ])("%s", (_, file, kind, message) => {
    const action = () => fromGguf(file);
    expect(action).toThrow(ModelError);
    expect(action).toThrow(message);
    expect(action).toThrow(expect.objectContaining({ kind }));
  });
});

describe("settings of the file", () => {
  const { tokens } = tinyByteLevel();
  const id = (text: string) => tokens.indexOf(text);

  test("BOS and EOS go around a text where the file wants them", () => {
    const tokenizer = fromGguf(byteLevelMetadata({ "tokenizer.ggml.add_eos_token": true }));
    expect(tokenizer.encode("", { addSpecialTokens: true, parseSpecial: false })).toEqual([
      id("<|endoftext|>"),
      id("<|im_end|>"),
    ]);
    expect(tokenizer.encode("", PLAIN)).toEqual([]);
  });

  test("SentencePiece adds BOS where the file is silent, byte-level BPE by its split rule", () => {
    const first = (file: ReturnType<typeof byteLevelMetadata>) =>
      fromGguf(without(file, "add_bos_token")).encode("the", { addSpecialTokens: true, parseSpecial: false })[0];
    expect(first(sentencePieceMetadata())).toBe(1);
    expect(first(byteLevelMetadata())).toBe(id("the"));
    expect(first(byteLevelMetadata({ "tokenizer.ggml.pre": "llama-bpe" }))).toBe(id("<|endoftext|>"));
  });

  test("end, turn and message end are ends of generation, and so are tokens known by their text", () => {
    const file = byteLevelMetadata({ "tokenizer.ggml.eot_token_id": 5, "tokenizer.ggml.eom_token_id": 6 });
    const ends = fromGguf(file).endOfGenerationIds;
    expect([...ends].sort((a, b) => a - b)).toEqual([5, 6, id("<|endoftext|>"), id("<|im_end|>")]);
    const sentencePiece = tinySentencePiece().tokens;
    expect(fromGguf(sentencePieceMetadata()).endOfGenerationIds).toEqual(
      new Set([2, sentencePiece.indexOf("<|im_end|>")]),
    );
  });

  test("a token with a well-known end text is control, whatever its type", () => {
    const types = Int32Array.from(tinyByteLevel().kinds);
    types[id("<|im_end|>")] = 4;
    const tokenizer = fromGguf(byteLevelMetadata({ "tokenizer.ggml.token_type": types }));
    expect(tokenizer.isControl(id("<|im_end|>"))).toBe(true);
    expect(tokenizer.encode("<|im_end|>", PLAIN)).not.toContain(id("<|im_end|>"));
  });

  test("fill-in-the-middle tokens are control, though files call them user-defined", () => {
    const all = [...tokens, "<|fim_prefix|>"];
    const types = Int32Array.from([...tinyByteLevel().kinds, 4]);
    const file = byteLevelMetadata({ "tokenizer.ggml.tokens": all, "tokenizer.ggml.token_type": types });
    const tokenizer = fromGguf(file);
    expect(tokenizer.isControl(tokens.length)).toBe(true);
    expect(tokenizer.encode("<|fim_prefix|>", PLAIN)).not.toContain(tokens.length);
    expect(tokenizer.encode("<|fim_prefix|>", SPECIAL)).toEqual([tokens.length]);
  });

  test("without types every token is text", () => {
    const tokenizer = fromGguf(without(byteLevelMetadata({ "tokenizer.ggml.eos_token_id": 0 }), "token_type"));
    expect(tokenizer.encode("the cat", PLAIN)).toEqual([id("the"), id("Ġcat")]);
    expect(tokenizer.isControl(id(USER_DEFINED_TEXT))).toBe(false);
  });

  test("Phi-3's control tokens swallow the white space after them", () => {
    const spaced = "<|im_end|>\n the";
    const of = (name: string) => fromGguf(byteLevelMetadata({ "general.name": name })).encode(spaced, SPECIAL);
    expect(of("Phi-3 Mini")).toEqual([id("<|im_end|>"), id("the")]);
    // Only ASCII white space, as llama.cpp does it.
    const wide = fromGguf(byteLevelMetadata({ "general.name": "phi3" })).encode("<|im_end|>\u00a0", SPECIAL);
    expect(wide).toHaveLength(3);
    expect(of("Phi-4")).toEqual([id("<|im_end|>"), id("Ċ"), id("Ġthe")]);
  });

  test("the longest special token wins, from the left", () => {
    const tokens = [...tinyByteLevel().tokens, "<tool><tool>", "ool>x"];
    const types = Int32Array.from([...tinyByteLevel().kinds, 4, 4]);
    const tokenizer = fromGguf(
      byteLevelMetadata({ "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.token_type": types }),
    );
    expect(tokenizer.encode("<tool><tool><tool>x", PLAIN)).toEqual([tokens.length - 2, id("<tool>"), id("x")]);
  });
});

describe("split rules", () => {
  /** What the patterns do, without the library: each stage cuts the pieces of the one before. */
  function split(name: string, text: string): string[] {
    let pieces = [text];
    for (const pattern of BPE_SPLIT_RULES.get(name)!.patterns) {
      pieces = pieces.flatMap((piece) => piece.split(new RegExp(`(${pattern})`, "u")).filter(Boolean));
    }
    return pieces;
  }

  test.each([
    ["gpt-2", "I'LL pay 12345 €!\n\n ok", ["I", "'", "LL", " pay", " 12345", " €!", "\n\n", " ok"]],
    ["llama-bpe", "I'LL pay 12345 €!\n\n ok", ["I", "'LL", " pay", " ", "123", "45", " €!\n\n", " ok"]],
    ["qwen2", "I'll pay 123 (x)", ["I", "'ll", " pay", " ", "1", "2", "3", " (", "x", ")"]],
    ["smollm", "pay 123 a1", ["pay", " ", "1", "2", "3", " a", "1"]],
    ["falcon", "a 12345,b", ["a", " ", "123", "45", ",", "b"]],
    ["default", "a 12345,b", ["a", " ", "123", "45", ",", "b"]],
    ["gpt-4o", "HelloWorld's 1234", ["Hello", "World's", " ", "123", "4"]],
    ["tekken", "HelloWorld 12", ["Hello", "World", " ", "1", "2"]],
    ["bloom", "Hello, you 12", ["Hello", ",", " you", " 12"]],
    ["deepseek-v3", "ab 1234你好", ["ab", " ", "123", "4", "你好"]],
  ])("%s cuts %j", (name, text, pieces) => {
    expect(split(name, text)).toEqual(pieces);
  });

  test.each([...BPE_SPLIT_RULES.keys()])("%s loses nothing", (name) => {
    const tokenizer = fromGguf(byteLevelMetadata({ "tokenizer.ggml.pre": name }));
    const text = "I'd say: it's 1984°C,\r\n\t  naïve café -- 你好 مرحبا 🙂!!\n\n  end  ";
    expect(tokenizer.decode(tokenizer.encode(text, PLAIN))).toBe(text);
  });
});
