/**
 * A tokenizer's vocabulary as grammars see it: two tries, made once. The few long tokens (runs of spaces, dashes) are
 * apart, because how far ahead a token looks decides what it can tell apart: 300 characters or 30 left are the same to
 * tokens of 16 bytes, so that masks of theirs are shared.
 */
import type { Tokenizer } from "../tokenizer.ts";
import { ByteTrie, type TrieEntry } from "./byte-trie.ts";

/** Depths in a trie are bytes. Nothing is lost without longer tokens: shorter ones spell the same. */
const TOKEN_BYTES_MAX = 255;

/** 1 % of a vocabulary is longer. */
const SHORT_BYTES_MAX = 16;

export class TokenTrie {
  readonly vocabSize: number;
  /** Words of a mask. */
  readonly numWords: number;
  readonly endIds: readonly number[];
  readonly short: ByteTrie;
  readonly long: ByteTrie;
  /** By token: its bytes, 0 where it is in no trie (control, empty, too long). */
  readonly lengths: Uint8Array;
  /** By byte: a token is that byte alone. */
  readonly isByteToken = new Uint8Array(256);

  constructor(tokenizer: Tokenizer) {
    this.vocabSize = tokenizer.vocabSize;
    this.numWords = Math.ceil(tokenizer.vocabSize / 32);
    this.endIds = [...tokenizer.endOfGenerationIds].filter((id) => id >= 0 && id < tokenizer.vocabSize);
    this.lengths = new Uint8Array(tokenizer.vocabSize);
    const entries = sortedEntries(tokenizer);
    for (const { id, text } of entries) {
      this.lengths[id] = text.length;
      if (text.length === 1) this.isByteToken[text.charCodeAt(0)] = 1;
    }
    this.short = new ByteTrie(entries.filter(({ text }) => text.length <= SHORT_BYTES_MAX));
    this.long = new ByteTrie(entries.filter(({ text }) => text.length > SHORT_BYTES_MAX));
  }

  get heldBytes(): number {
    return this.short.heldBytes + this.long.heldBytes + this.lengths.length;
  }
}

function sortedEntries(tokenizer: Tokenizer): TrieEntry[] {
  const entries: TrieEntry[] = [];
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    if (tokenizer.isControl(id) || tokenizer.endOfGenerationIds.has(id)) continue;
    const bytes = tokenizer.tokenBytes(id);
    if (bytes.length === 0 || bytes.length > TOKEN_BYTES_MAX) continue;
    entries.push({ id, text: String.fromCharCode(...bytes) });
  }
  return entries.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id));
}
