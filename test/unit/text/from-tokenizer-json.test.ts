import { describe, expect, test } from "vitest";
import { ModelError } from "../../../src/model/errors.ts";
import { fromTokenizerJson } from "../../../src/text/from-tokenizer-json.ts";
import { byteLevelJson, sentencePieceJson, tinyByteLevel, tinySentencePiece } from "./tiny-vocabulary.ts";

const PLAIN = { addSpecialTokens: false, parseSpecial: false };
const ADDED = { addSpecialTokens: true, parseSpecial: false };

function changed(file: Record<string, unknown>, change: Record<string, unknown>): Record<string, unknown> {
  return { ...file, ...change };
}

function withModel(change: Record<string, unknown>): Record<string, unknown> {
  const file = byteLevelJson();
  return { ...file, model: { ...(file.model as object), ...change } };
}

describe("files that cannot be read", () => {
  const added = (token: unknown) => changed(byteLevelJson(), { added_tokens: [token] });
  test.each([
    ["no object", [], {}, "corrupt", "holds no object"],
    ["a config that is no object", byteLevelJson(), "x", "corrupt", "tokenizer_config.json"],
    ["no model", {}, {}, "corrupt", "no 'model'"],
    [
      "another model",
      { model: { type: "Unigram", vocab: [] } },
      {},
      "unsupported_type",
      "'Unigram' is not supported. Known: BPE.",
    ],
    ["a word suffix", withModel({ end_of_word_suffix: "</w>" }), {}, "unsupported_type", 'end_of_word_suffix ("</w>")'],
    ["no vocabulary", withModel({ vocab: null }), {}, "corrupt", "model.vocab"],
    ["no merges", withModel({ merges: {} }), {}, "corrupt", "model.merges"],
    ["a merge of three", withModel({ merges: [["a", "b", "c"]] }), {}, "corrupt", "is no pair"],
    ["an id that is a text", withModel({ vocab: { a: "1" } }), {}, "corrupt", '"a" has the id "1"'],
    ["a wild id", withModel({ vocab: { a: 2 ** 40 } }), {}, "corrupt", '"a" has the id'],
    ["an added token without a text", added({ id: 1 }), {}, "corrupt", "is no token"],
    [
      "an added token for whole words",
      added({ id: 1, content: "x", single_word: true }),
      {},
      "unsupported_type",
      "single_word",
    ],
    ["an unknown step", changed(byteLevelJson(), { normalizer: { type: "Magic" } }), {}, "unsupported_type", "Magic"],
  ])("%s", (_, file, config, kind, message) => {
    const action = () => fromTokenizerJson(file, config);
    expect(action).toThrow(ModelError);
    expect(action).toThrow(message);
    expect(action).toThrow(expect.objectContaining({ kind }));
  });
});

describe("BOS and EOS", () => {
  const id = (text: string) => tinyByteLevel().tokens.indexOf(text);
  const bos = id("<|endoftext|>");

  test("come from the post-processor", () => {
    expect(fromTokenizerJson(byteLevelJson()).encode("", ADDED)).toEqual([bos]);
    const sequence = { type: "Sequence", processors: [{ type: "ByteLevel" }, byteLevelJson().post_processor] };
    expect(fromTokenizerJson(changed(byteLevelJson(), { post_processor: sequence })).encode("", ADDED)).toEqual([bos]);
    const roberta = { type: "RobertaProcessing", cls: ["<|endoftext|>", 1], sep: ["<|im_end|>", 2] };
    expect(fromTokenizerJson(changed(byteLevelJson(), { post_processor: roberta })).encode("", ADDED)).toEqual([
      bos,
      id("<|im_end|>"),
    ]);
    expect(fromTokenizerJson(changed(byteLevelJson(), { post_processor: null })).encode("", ADDED)).toEqual([]);
  });

  test("tokenizer_config.json has the last word", () => {
    const config = { bos_token: { content: "<|im_start|>" }, eos_token: "<|im_end|>", add_eos_token: true };
    const tokenizer = fromTokenizerJson(byteLevelJson(), config);
    expect(tokenizer.encode("", ADDED)).toEqual([id("<|im_start|>"), id("<|im_end|>")]);
    expect(tokenizer.endOfGenerationIds).toEqual(new Set([id("<|im_end|>"), bos]));
    expect(fromTokenizerJson(byteLevelJson(), { add_bos_token: false }).encode("", ADDED)).toEqual([]);
  });
});

describe("space prefixes", () => {
  const { tokens } = tinySentencePiece();
  const space = tokens.indexOf("\u2581");
  const dot = tokens.indexOf(".");
  const end = tokens.indexOf("<|im_end|>");
  const SPECIAL = { addSpecialTokens: false, parseSpecial: true };
  const metaspace = (scheme: object) =>
    fromTokenizerJson(
      changed(sentencePieceJson(), {
        normalizer: null,
        pre_tokenizer: { type: "Sequence", pretokenizers: [{ type: "Metaspace", replacement: "\u2581", ...scheme }] },
      }),
    );

  test("the Prepend normalizer puts one in front of every stretch", () => {
    const tokenizer = fromTokenizerJson(sentencePieceJson());
    expect(tokenizer.encode(".<|im_end|>.", SPECIAL)).toEqual([space, dot, end, space, dot]);
    expect(tokenizer.encode(".<|im_end|>.", { ...SPECIAL, continues: true })).toEqual([dot, end, space, dot]);
  });

  test.each([
    ["first", { prepend_scheme: "first" }, [space, dot, end, dot]],
    ["always", { prepend_scheme: "always" }, [space, dot, end, space, dot]],
    ["never", { prepend_scheme: "never" }, [dot, end, dot]],
    ["the older flag", { add_prefix_space: false }, [dot, end, dot]],
  ])("Metaspace: %s", (_, scheme, ids) => {
    expect(metaspace(scheme).encode(".<|im_end|>.", SPECIAL)).toEqual(ids);
  });

  test("Metaspace adds none where the text has one", () => {
    expect(metaspace({}).encode(" .", PLAIN)).toEqual([space, dot]);
    expect(fromTokenizerJson(sentencePieceJson()).encode(" .", PLAIN)).not.toEqual([space, dot]);
  });

  test("ByteLevel with add_prefix_space", () => {
    const byteLevel = { type: "ByteLevel", add_prefix_space: true, use_regex: true };
    const tokenizer = fromTokenizerJson(changed(byteLevelJson(), { pre_tokenizer: byteLevel }));
    const id = tinyByteLevel().tokens.indexOf("Ġthe");
    expect(tokenizer.encode("the", PLAIN)).toEqual([id]);
    expect(tokenizer.encode(" the", PLAIN)).toEqual([id]);
    expect(tokenizer.encode("the", { ...PLAIN, continues: true })).not.toEqual([id]);
  });
});

describe("added tokens", () => {
  const tokens = tinyByteLevel().tokens;

  test("take the white space around them where the file says so", () => {
    const file = byteLevelJson();
    const added = [
      ...(file.added_tokens as object[]),
      { id: tokens.length, content: "<mask>", lstrip: true, rstrip: true },
    ];
    const tokenizer = fromTokenizerJson(changed(file, { added_tokens: added }));
    const id = (text: string) => tokens.indexOf(text);
    expect(tokenizer.encode("the <mask>\n cat", PLAIN)).toEqual([
      id("the"),
      tokens.length,
      ...tokenizer.encode("cat", PLAIN),
    ]);
    expect(tokenizer.vocabSize).toBe(tokens.length + 1);
  });

  test("ids between tokens have no bytes", () => {
    const added = [{ id: tokens.length + 3, content: "<far>", special: true }];
    const tokenizer = fromTokenizerJson(changed(byteLevelJson(), { added_tokens: added }));
    expect(tokenizer.vocabSize).toBe(tokens.length + 4);
    expect(tokenizer.tokenBytes(tokens.length + 1)).toEqual(new Uint8Array(0));
  });
});
