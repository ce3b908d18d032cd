/**
 * A vocabulary as a trie over bytes, laid out flat in depth-first order: a walk goes forward through arrays and jumps
 * over a subtree where no grammar goes on. Ten bytes a node and one for each token; made once for a tokenizer.
 */
import type { Tokenizer } from "../tokenizer.ts";

/** Depths are bytes. Nothing is lost without longer tokens (runs of spaces and dashes): shorter ones spell the same. */
const TOKEN_BYTES_MAX = 255;

/** A token in the order of its bytes; Latin-1 stands for bytes. */
interface Entry {
  id: number;
  text: string;
}

export class TokenTrie {
  readonly vocabSize: number;
  /** Words of a mask. */
  readonly numWords: number;
  readonly endIds: readonly number[];
  /** By node: the byte that leads to it. */
  readonly bytes: Uint8Array;
  /** By node: its distance from the root's children. */
  readonly depths: Uint8Array;
  /** By node: the node behind its subtree. */
  readonly ends: Int32Array;
  /** By node: the token that ends here, −1 for none. */
  readonly tokens: Int32Array;
  /** Tokens of the same bytes as one in `tokens`. */
  readonly twins = new Map<number, number[]>();
  /** By token: its bytes, 0 where it is not in the trie (control, empty, too long). */
  readonly lengths: Uint8Array;
  /** The longest token's bytes. */
  readonly lengthMax: number;
  /** By byte: a token is that byte alone. */
  readonly isByteToken = new Uint8Array(256);

  constructor(tokenizer: Tokenizer) {
    this.vocabSize = tokenizer.vocabSize;
    this.numWords = Math.ceil(tokenizer.vocabSize / 32);
    this.endIds = [...tokenizer.endOfGenerationIds].filter((id) => id >= 0 && id < tokenizer.vocabSize);
    this.lengths = new Uint8Array(tokenizer.vocabSize);
    const entries = sortedEntries(tokenizer);
    const numNodes = countNodes(entries);
    this.bytes = new Uint8Array(numNodes);
    this.depths = new Uint8Array(numNodes);
    this.ends = new Int32Array(numNodes);
    this.tokens = new Int32Array(numNodes).fill(-1);
    let lengthMax = 1;
    for (const { id, text } of entries) {
      this.lengths[id] = text.length;
      if (text.length === 1) this.isByteToken[text.charCodeAt(0)] = 1;
      lengthMax = Math.max(lengthMax, text.length);
    }
    this.lengthMax = lengthMax;
    this.#fill(entries);
  }

  get heldBytes(): number {
    return this.bytes.length * 10 + this.lengths.length;
  }

  #fill(entries: readonly Entry[]): void {
    /** Nodes from the root to the last token's. */
    const path: number[] = [];
    let previous = "";
    let numNodes = 0;
    for (const { id, text } of entries) {
      const numShared = sharedLength(previous, text);
      while (path.length > numShared) this.ends[path.pop()!] = numNodes;
      for (let depth = numShared; depth < text.length; depth++) {
        this.bytes[numNodes] = text.charCodeAt(depth);
        this.depths[numNodes] = depth;
        path.push(numNodes++);
      }
      const node = path[path.length - 1]!;
      const first = this.tokens[node]!;
      if (first < 0) this.tokens[node] = id;
      else this.twins.set(first, [...(this.twins.get(first) ?? []), id]);
      previous = text;
    }
    while (path.length > 0) this.ends[path.pop()!] = numNodes;
  }
}

function sortedEntries(tokenizer: Tokenizer): Entry[] {
  const entries: Entry[] = [];
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    if (tokenizer.isControl(id) || tokenizer.endOfGenerationIds.has(id)) continue;
    const bytes = tokenizer.tokenBytes(id);
    if (bytes.length === 0 || bytes.length > TOKEN_BYTES_MAX) continue;
    entries.push({ id, text: String.fromCharCode(...bytes) });
  }
  return entries.sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : a.id - b.id));
}

function countNodes(entries: readonly Entry[]): number {
  let previous = "";
  let numNodes = 0;
  for (const { text } of entries) {
    numNodes += text.length - sharedLength(previous, text);
    previous = text;
  }
  return numNodes;
}

function sharedLength(a: string, b: string): number {
  const most = Math.min(a.length, b.length);
  let length = 0;
  while (length < most && a.charCodeAt(length) === b.charCodeAt(length)) length++;
  return length;
}
