/**
 * Which physical block holds which prefix. An entry says: this block holds the keys and values of these tokens, after
 * the prefix that its parent entry stands for, under this salt.
 *
 * Exact, not probable: the chained hash only picks the bucket. An entry is a hit when its salt, its tokens and its
 * parent's content id are equal, and the parent was itself found so, back to the root. Content ids are never reused,
 * so a hash collision (or a parent block that has meanwhile been overwritten) cannot join two different prefixes.
 *
 * A tail, the block that a sequence ended in, is not full. It is filed under its parent alone, as a block of no tokens
 * would be, and found by whatever it has in common with what is asked for; nobody's parent is a tail.
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
  /** Of them; fewer than a block has for a tail. */
  readonly #numTokens: Int32Array;
  readonly #hashes: Uint32Array;
  readonly #contents: Float64Array;
  readonly #parents: Float64Array;
  readonly #salts: string[];
  readonly #bucketHeads: Int32Array;
  readonly #bucketNext: Int32Array;
  readonly #state = new Uint32Array(2);
  readonly #noTokens = new Int32Array(0);
  #lastContent = ROOT_CONTENT;

  constructor(numBlocks: number, blockTokens: number, hash: TokenHash) {
    this.#blockTokens = blockTokens;
    this.#hash = hash;
    this.#tokens = new Int32Array(numBlocks * blockTokens);
    this.#numTokens = new Int32Array(numBlocks);
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
    this.#fold(salt, parent, this.#whole(tokens));
    return this.#lookUp(salt, this.#contentOf(parent), tokens);
  }

  /** The block that already holds this content, or else `block`, which is indexed for it from now on. */
  findOrInsert(block: number, salt: string, parent: number, tokens: ArrayLike<number>): number {
    if (this.has(block)) throw new Error(`KV block ${block} is already in the prefix index.`);
    const parentContent = this.#contentOf(parent);
    this.#fold(salt, parent, this.#whole(tokens));
    const found = this.#lookUp(salt, parentContent, tokens);
    if (found !== NO_BLOCK) return found;
    this.#insert(block, salt, parentContent, tokens);
    return block;
  }

  /**
   * The tail that has the longest beginning of `tokens` after the prefix of `parent`, or NO_BLOCK where none has any.
   * How much that is says `numShared`.
   */
  findTail(salt: string, parent: number, tokens: ArrayLike<number>): number {
    this.#fold(salt, parent, this.#noTokens);
    const parentContent = this.#contentOf(parent);
    let [best, numBest] = [NO_BLOCK, 0];
    for (let block = this.#firstOfBucket(); block !== NO_BLOCK; block = this.#bucketNext[block]!) {
      if (this.#numTokens[block] === this.#blockTokens || !this.#isAt(block, salt, parentContent)) continue;
      const numShared = this.numShared(block, tokens);
      if (numShared > numBest) [best, numBest] = [block, numShared];
    }
    return best;
  }

  /** Indexes a block whose first tokens are computed, and they are not a whole block; not where a tail has them all. */
  insertTail(block: number, salt: string, parent: number, tokens: ArrayLike<number>): void {
    if (this.has(block)) throw new Error(`KV block ${block} is already in the prefix index.`);
    if (tokens.length < 1 || tokens.length >= this.#blockTokens) {
      throw new Error(`A tail has 1 to ${this.#blockTokens - 1} tokens, got ${tokens.length}.`);
    }
    const found = this.findTail(salt, parent, tokens);
    if (found !== NO_BLOCK && this.numShared(found, tokens) === tokens.length) return;
    this.#insert(block, salt, this.#contentOf(parent), tokens);
  }

  /** How many tokens an indexed block and `tokens` begin with in common. */
  numShared(block: number, tokens: ArrayLike<number>): number {
    const start = block * this.#blockTokens;
    const numMax = Math.min(this.#numTokens[block]!, tokens.length);
    let numShared = 0;
    while (numShared < numMax && this.#tokens[start + numShared] === tokens[numShared]) numShared++;
    return numShared;
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

  #whole(tokens: ArrayLike<number>): ArrayLike<number> {
    if (tokens.length === this.#blockTokens) return tokens;
    throw new Error(`A block has ${this.#blockTokens} tokens, got ${tokens.length}.`);
  }

  /** Under the hash in `#state`. */
  #insert(block: number, salt: string, parentContent: number, tokens: ArrayLike<number>): void {
    const bucket = this.#bucket(this.#state[0]!);
    this.#tokens.set(tokens, block * this.#blockTokens);
    this.#numTokens[block] = tokens.length;
    this.#hashes.set(this.#state, block * 2);
    this.#contents[block] = ++this.#lastContent;
    this.#parents[block] = parentContent;
    this.#salts[block] = salt;
    this.#bucketNext[block] = this.#bucketHeads[bucket]!;
    this.#bucketHeads[bucket] = block;
  }

  #fold(salt: string, parent: number, tokens: ArrayLike<number>): void {
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
    for (let block = this.#firstOfBucket(); block !== NO_BLOCK; block = this.#bucketNext[block]!) {
      if (this.#isAt(block, salt, parentContent) && this.numShared(block, tokens) === this.#blockTokens) return block;
    }
    return NO_BLOCK;
  }

  /** Is it filed under the hash in `#state`, after this prefix? */
  #isAt(block: number, salt: string, parentContent: number): boolean {
    return (
      this.#hashes[block * 2] === this.#state[0] &&
      this.#hashes[block * 2 + 1] === this.#state[1] &&
      this.#parents[block] === parentContent &&
      this.#salts[block] === salt
    );
  }

  #firstOfBucket(): number {
    return this.#bucketHeads[this.#bucket(this.#state[0]!)]!;
  }

  #bucket(hashLo: number): number {
    return hashLo & (this.#bucketHeads.length - 1);
  }
}
