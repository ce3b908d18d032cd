/**
 * Which physical block holds which prefix. An entry says: this block holds the keys and values of these tokens, after
 * the prefix that its parent entry stands for, under this salt.
 *
 * Exact, not probable: the chained hash only picks the bucket. An entry is a hit when its salt, its tokens and its
 * parent's content id are equal, and the parent was itself found so, back to the root. Content ids are never reused,
 * so a hash collision (or a parent block that has meanwhile been overwritten) cannot join two different prefixes.
 *
 * Typed arrays throughout, buckets chained through block ids: no allocation after construction but the salt references.
 */
import { hashSalt, type TokenHash } from "./block-hash.ts";

/** "No block": the parent of a sequence's first block, and the answer where nothing was found. */
export const NO_BLOCK = -1;

const ROOT_CONTENT = 0;

export class PrefixIndex {
  readonly #blockTokens: number;
  readonly #hash: TokenHash;
  /** Per block: its tokens, its chained hash (two lanes), the id of its content (0 = not indexed) and its parent's. */
  readonly #tokens: Int32Array;
  readonly #hashes: Uint32Array;
  readonly #contents: Float64Array;
  readonly #parents: Float64Array;
  readonly #salts: string[];
  readonly #bucketHeads: Int32Array;
  readonly #bucketNext: Int32Array;
  readonly #state = new Uint32Array(2);
  #lastContent = ROOT_CONTENT;

  constructor(numBlocks: number, blockTokens: number, hash: TokenHash) {
    this.#blockTokens = blockTokens;
    this.#hash = hash;
    this.#tokens = new Int32Array(numBlocks * blockTokens);
    this.#hashes = new Uint32Array(numBlocks * 2);
    this.#contents = new Float64Array(numBlocks);
    this.#parents = new Float64Array(numBlocks);
    this.#salts = new Array(numBlocks).fill("");
    this.#bucketHeads = new Int32Array(2 ** Math.ceil(Math.log2(numBlocks + 1))).fill(NO_BLOCK);
    this.#bucketNext = new Int32Array(numBlocks).fill(NO_BLOCK);
  }

  has(block: number): boolean {
    return this.#contents[block] !== ROOT_CONTENT;
  }

  /**
   * The block that holds `tokens` after the prefix of `parent`, or NO_BLOCK.
   * @param parent an indexed block, or NO_BLOCK for the first block of a sequence
   * @param tokens exactly one block of token ids
   */
  find(salt: string, parent: number, tokens: ArrayLike<number>): number {
    this.#fold(salt, parent, tokens);
    return this.#lookUp(salt, this.#contentOf(parent), tokens);
  }

  /** The block that already holds this content, or else `block`, which is indexed for it from now on. */
  findOrInsert(block: number, salt: string, parent: number, tokens: ArrayLike<number>): number {
    if (this.has(block)) throw new Error(`KV block ${block} is already in the prefix index.`);
    const parentContent = this.#contentOf(parent);
    this.#fold(salt, parent, tokens);
    const found = this.#lookUp(salt, parentContent, tokens);
    if (found !== NO_BLOCK) return found;
    const bucket = this.#bucket(this.#state[0]!);
    this.#tokens.set(tokens, block * this.#blockTokens);
    this.#hashes.set(this.#state, block * 2);
    this.#contents[block] = ++this.#lastContent;
    this.#parents[block] = parentContent;
    this.#salts[block] = salt;
    this.#bucketNext[block] = this.#bucketHeads[bucket]!;
    this.#bucketHeads[bucket] = block;
    return block;
  }

  /** Forgets what `block` holds; does nothing for a block that is not indexed. */
  remove(block: number): void {
    if (!this.has(block)) return;
    const bucket = this.#bucket(this.#hashes[block * 2]!);
    let entry = this.#bucketHeads[bucket]!;
    if (entry === block) {
      this.#bucketHeads[bucket] = this.#bucketNext[block]!;
    } else {
      while (this.#bucketNext[entry] !== block) entry = this.#bucketNext[entry]!;
      this.#bucketNext[entry] = this.#bucketNext[block]!;
    }
    this.#contents[block] = ROOT_CONTENT;
    this.#salts[block] = "";
  }

  /** Throws where a block cannot be found any more though it is there: its parent was forgotten first. For tests. */
  checkChains(): void {
    const contents = new Set(this.#contents);
    for (let block = 0; block < this.#contents.length; block++) {
      if (this.has(block) && !contents.has(this.#parents[block]!) && this.#parents[block] !== ROOT_CONTENT) {
        throw new Error(`Block ${block} is indexed, and what comes before it is not.`);
      }
    }
  }

  #contentOf(parent: number): number {
    if (parent === NO_BLOCK) return ROOT_CONTENT;
    const content = this.#contents[parent]!;
    if (content === ROOT_CONTENT) throw new Error(`KV block ${parent} is not in the prefix index.`);
    return content;
  }

  #fold(salt: string, parent: number, tokens: ArrayLike<number>): void {
    if (tokens.length !== this.#blockTokens) {
      throw new Error(`A block has ${this.#blockTokens} tokens, got ${tokens.length}.`);
    }
    if (parent === NO_BLOCK) {
      hashSalt(this.#state, salt);
    } else {
      this.#state[0] = this.#hashes[parent * 2]!;
      this.#state[1] = this.#hashes[parent * 2 + 1]!;
    }
    this.#hash(this.#state, tokens);
  }

  /** Walks the bucket of the hash in `#state`. */
  #lookUp(salt: string, parentContent: number, tokens: ArrayLike<number>): number {
    const lo = this.#state[0]!;
    const hi = this.#state[1]!;
    let block = this.#bucketHeads[this.#bucket(lo)]!;
    for (; block !== NO_BLOCK; block = this.#bucketNext[block]!) {
      if (
        this.#hashes[block * 2] === lo &&
        this.#hashes[block * 2 + 1] === hi &&
        this.#parents[block] === parentContent &&
        this.#salts[block] === salt &&
        this.#holds(block, tokens)
      ) {
        return block;
      }
    }
    return NO_BLOCK;
  }

  #holds(block: number, tokens: ArrayLike<number>): boolean {
    const start = block * this.#blockTokens;
    for (let i = 0; i < this.#blockTokens; i++) {
      if (this.#tokens[start + i] !== tokens[i]) return false;
    }
    return true;
  }

  #bucket(hashLo: number): number {
    return hashLo & (this.#bucketHeads.length - 1);
  }
}
