/**
 * Small vocabularies, trained here on a few sentences, in the shapes of both file formats. The trainer is the textbook
 * one: count pairs, join the commonest, again.
 */
import type { GgufValue } from "../../../src/model/gguf.ts";
import { TOKEN_KIND } from "../../../src/text/vocabulary.ts";

const CORPUS =
  "the cat sat on the mat and the dog sat on the cat. Once upon a time there was a little girl named Lily. " +
  "She said: it's a fine day, isn't it? In 1984 we'd 37 cats; we'll see. \n\n\tint main() { return 0; }\n naïve café ";

const NUM_MERGES = 120;

export const CONTROL_TEXTS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
export const USER_DEFINED_TEXT = "<tool>";

/** GPT-2's printable stand-in for each byte, written down from its definition rather than taken from the code. */
export function byteCharacter(byte: number): string {
  const isPrintable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  if (isPrintable) return String.fromCharCode(byte);
  let numHiddenBefore = 0;
  for (let b = 0; b < byte; b++) if (b <= 0x20 || (b >= 0x7f && b <= 0xa0) || b === 0xad) numHiddenBefore++;
  return String.fromCharCode(0x100 + numHiddenBefore);
}

export interface TinyBpe {
  tokens: string[];
  merges: [string, string][];
  kinds: number[];
}

/** Byte-level: 256 bytes, merges, then the special tokens. */
export function tinyByteLevel(): TinyBpe {
  const words = CORPUS.match(/ ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+/gu)!.map((word) =>
    Array.from(new TextEncoder().encode(word), byteCharacter),
  );
  const merges = train(words);
  const normal = [...Array.from({ length: 256 }, (_, byte) => byteCharacter(byte)), ...joined(merges)];
  return {
    tokens: [...normal, ...CONTROL_TEXTS, USER_DEFINED_TEXT],
    merges,
    kinds: [
      ...normal.map(() => TOKEN_KIND.NORMAL),
      ...CONTROL_TEXTS.map(() => TOKEN_KIND.CONTROL),
      TOKEN_KIND.USER_DEFINED,
    ],
  };
}

export interface TinySentencePiece {
  tokens: string[];
  scores: number[];
  kinds: number[];
}

/** SentencePiece: unknown, BOS, EOS, 256 bytes, pieces by score, characters, then the special tokens. */
export function tinySentencePiece(): TinySentencePiece {
  const words = ` ${CORPUS}`.replaceAll(" ", "\u2581").match(/\u2581*[^\u2581]+/g)!;
  const pieces = joined(train(words.map((word) => Array.from(word))));
  const characters = [...new Set(Array.from(words.join("")))].filter((character) => character !== "c");
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  const rows: [text: string, score: number, kind: number][] = [
    ["<unk>", 0, TOKEN_KIND.UNKNOWN],
    ["<s>", 0, TOKEN_KIND.CONTROL],
    ["</s>", 0, TOKEN_KIND.CONTROL],
    ...bytes.map((text): [string, number, number] => [text, 0, TOKEN_KIND.BYTE]),
    // Equal scores in pairs, so that ties are decided by place.
    ...pieces.map((text, i): [string, number, number] => [text, -Math.floor(i / 2), TOKEN_KIND.NORMAL]),
    // Pieces that would spell "</s>", were it a token like any other.
    ...["</", "s>"].map((text): [string, number, number] => [text, -500, TOKEN_KIND.NORMAL]),
    ...characters.map((text): [string, number, number] => [text, -1000, TOKEN_KIND.NORMAL]),
    ["<|im_start|>", 0, TOKEN_KIND.CONTROL],
    ["<|im_end|>", 0, TOKEN_KIND.CONTROL],
    [USER_DEFINED_TEXT, 0, TOKEN_KIND.USER_DEFINED],
  ];
  return { tokens: rows.map(([t]) => t), scores: rows.map(([, s]) => s), kinds: rows.map(([, , k]) => k) };
}

export function byteLevelMetadata(extra: Record<string, GgufValue> = {}): { metadata: Map<string, GgufValue> } {
  const { tokens, merges, kinds } = tinyByteLevel();
  return metadataOf({
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.token_type": Int32Array.from(kinds),
    "tokenizer.ggml.merges": merges.map((pair) => pair.join(" ")),
    "tokenizer.ggml.bos_token_id": tokens.indexOf("<|endoftext|>"),
    "tokenizer.ggml.eos_token_id": tokens.indexOf("<|im_end|>"),
    "tokenizer.ggml.add_bos_token": true,
    ...extra,
  });
}

export function sentencePieceMetadata(extra: Record<string, GgufValue> = {}): { metadata: Map<string, GgufValue> } {
  const { tokens, scores, kinds } = tinySentencePiece();
  return metadataOf({
    "tokenizer.ggml.model": "llama",
    "tokenizer.ggml.tokens": tokens,
    "tokenizer.ggml.scores": Float32Array.from(scores),
    "tokenizer.ggml.token_type": Int32Array.from(kinds),
    "tokenizer.ggml.bos_token_id": 1,
    "tokenizer.ggml.eos_token_id": 2,
    "tokenizer.ggml.unknown_token_id": 0,
    ...extra,
  });
}

/** tokenizer.json of `tinyByteLevel`, with the GPT-2 split and a BOS by template. */
export function byteLevelJson(): Record<string, unknown> {
  const { tokens, merges, kinds } = tinyByteLevel();
  const added = tokens.flatMap((content, id) => (kinds[id] === TOKEN_KIND.NORMAL ? [] : [{ id, content }]));
  return {
    added_tokens: added.map((token) => ({ ...token, special: kinds[token.id] === TOKEN_KIND.CONTROL })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: true },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<|endoftext|>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    },
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      merges,
      vocab: Object.fromEntries(tokens.flatMap((text, id) => (kinds[id] === TOKEN_KIND.NORMAL ? [[text, id]] : []))),
    },
  };
}

/** The pieces of `tinySentencePiece` as a tokenizer.json of the Llama 2 kind, with a merge table of its own. */
export function sentencePieceJson(): Record<string, unknown> {
  const { tokens, kinds } = tinySentencePiece();
  const pieces = tokens.filter((text, id) => kinds[id] === TOKEN_KIND.NORMAL && Array.from(text).length > 1);
  const known = new Set(tokens);
  const merges = pieces.flatMap((text) =>
    Array.from({ length: text.length - 1 }, (_, i) => [text.slice(0, i + 1), text.slice(i + 1)]).filter((pair) =>
      pair.every((part) => known.has(part)),
    ),
  );
  return {
    added_tokens: tokens.flatMap((content, id) => {
      const kind = kinds[id];
      if (kind === TOKEN_KIND.NORMAL || kind === TOKEN_KIND.BYTE) return [];
      return [{ id, content, special: kind !== TOKEN_KIND.USER_DEFINED, normalized: false }];
    }),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "\u2581" },
        { type: "Replace", pattern: { String: " " }, content: "\u2581" },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>" } }, { Sequence: { id: "A" } }],
    },
    decoder: null,
    model: {
      type: "BPE",
      byte_fallback: true,
      unk_token: "<unk>",
      merges: merges.map((pair) => pair.join(" ")),
      vocab: Object.fromEntries(tokens.map((text, id) => [text, id])),
    },
  };
}

function metadataOf(values: Record<string, GgufValue>): { metadata: Map<string, GgufValue> } {
  return { metadata: new Map(Object.entries(values)) };
}

function joined(merges: readonly [string, string][]): string[] {
  return [...new Set(merges.map(([left, right]) => left + right))];
}

function train(words: string[][]): [string, string][] {
  const merges: [string, string][] = [];
  let current = words;
  while (merges.length < NUM_MERGES) {
    const best = commonestPair(current);
    if (best === null) break;
    merges.push(best);
    current = current.map((word) => mergedWord(word, best));
  }
  return merges;
}

function commonestPair(words: readonly string[][]): [string, string] | null {
  const counts = new Map<string, { pair: [string, string]; count: number }>();
  for (const word of words) {
    for (let i = 1; i < word.length; i++) {
      const pair: [string, string] = [word[i - 1]!, word[i]!];
      const entry = counts.get(pair.join("\0")) ?? { pair, count: 0 };
      entry.count++;
      counts.set(pair.join("\0"), entry);
    }
  }
  const sorted = [...counts.values()].sort((a, b) => b.count - a.count);
  return sorted[0]?.pair ?? null;
}

/** Joins every occurrence of a pair, from the left. */
export function mergedWord(word: readonly string[], [left, right]: readonly [string, string]): string[] {
  const out: string[] = [];
  for (let i = 0; i < word.length; i++) {
    const isPair = word[i] === left && word[i + 1] === right;
    out.push(isPair ? left + right : word[i]!);
    if (isPair) i++;
  }
  return out;
}
