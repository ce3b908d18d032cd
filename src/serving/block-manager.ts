/**
 * Paged KV memory (PagedAttention, Kwon et al. 2023): which physical block holds which positions of which sequence,
 * with automatic prefix caching and copy-on-write. It moves block ids only; the backend holds the bytes.
 *
 * Invariants, checked by `checkInvariants`:
 *  - a block's reference count is the number of tables it is in; with 0 it is free, and free blocks keep their content
 *    and their place in the prefix index until they are taken for something else;
 *  - a block in the prefix index is full, or the tail of a sequence that ended, and is never written again while it is
 *    there (`prepareWrite` copies it or takes it out first, `takeTail` takes it out);
 *  - a content is indexed once: a table that computed the same block a second time is moved to the first (`commit`).
 *    So whoever holds a block holds its indexed parent too, a parent always becomes free with or after its children,
 *    and, as tables are released from their end, the least-recently-used order evicts the tail of a chain first.
 */

import type { BlockCopy } from "./backend.ts";
import { hashTokens, type TokenHash } from "./block-hash.ts";
import { BlockPool } from "./block-pool.ts";
import { BlockTable } from "./block-table.ts";
import { NO_BLOCK, PrefixIndex } from "./prefix-index.ts";

/** Where the tokens of a sequence are read from. */
export interface TokenSource {
  tokenAt(position: number): number;
}

/** A cached prefix that was looked up and not taken yet. Reused: valid until the next `match`. */
export interface PrefixMatch {
  numBlocks: number;
  /** How many of these are free, and so have to be counted against the free blocks when the match is taken. */
  numFree: number;
  blocks: Int32Array;
  /** The block whose first `numTailTokens` tokens come next; NO_BLOCK where there is none. */
  tail: number;
  numTailTokens: number;
}

export interface BlockManagerOptions {
  numBlocks: number;
  blockTokens: number;
  /** false = never find nor keep a prefix. */
  prefixCache?: boolean;
  /** Only tests replace it (by one that collides). */
  hash?: TokenHash;
}

export class BlockManager {
  readonly numBlocks: number;
  readonly blockTokens: number;
  readonly prefixCache: boolean;
  readonly #pool: BlockPool;
  readonly #index: PrefixIndex;
  readonly #scratch: Int32Array;
  readonly #match: PrefixMatch;
  #numCached = 0;

  constructor({ numBlocks, blockTokens, prefixCache = true, hash = hashTokens }: BlockManagerOptions) {
    if (!Number.isInteger(blockTokens) || blockTokens < 1) {
      throw new Error(`A KV block holds at least 1 token, got ${blockTokens}.`);
    }
    this.numBlocks = numBlocks;
    this.blockTokens = blockTokens;
    this.#pool = new BlockPool(numBlocks);
    this.#index = new PrefixIndex(numBlocks, blockTokens, hash);
    this.prefixCache = prefixCache;
    this.#scratch = new Int32Array(blockTokens);
    this.#match = {
      numBlocks: 0,
      numFree: 0,
      blocks: new Int32Array(numBlocks),
      tail: NO_BLOCK,
      numTailTokens: 0,
    };
  }

  get numFreeBlocks(): number {
    return this.#pool.numFree;
  }

  /** Free blocks that hold a reusable prefix. */
  get numCachedBlocks(): number {
    return this.#numCached;
  }

  numBlocksFor(numTokens: number): number {
    return Math.ceil(numTokens / this.blockTokens);
  }

  /**
   * The longest cached prefix in whole blocks. Takes nothing.
   * @param numTokensMax find at most this many; a caller that needs the logits of its last token passes one less
   *   than it has, so that this token is always computed
   */
  match(source: TokenSource, salt: string, numTokensMax: number): PrefixMatch {
    const match = this.#match;
    match.numBlocks = 0;
    match.numFree = 0;
    match.tail = NO_BLOCK;
    match.numTailTokens = 0;
    if (!this.prefixCache) return match;
    const numBlocksMax = Math.min(Math.floor(numTokensMax / this.blockTokens), this.numBlocks);
    let parent = NO_BLOCK;
    for (let i = 0; i < numBlocksMax; i++) {
      const block = this.#index.find(salt, parent, this.#readBlock(source, i));
      if (block === NO_BLOCK) break;
      parent = block;
      if (this.#pool.refCount(parent) === 0) match.numFree++;
      match.blocks[match.numBlocks++] = parent;
    }
    this.#matchTail(match, source, salt, numTokensMax);
    return match;
  }

  #matchTail(match: PrefixMatch, source: TokenSource, salt: string, numTokensMax: number): void {
    const numLeft = Math.min(numTokensMax - match.numBlocks * this.blockTokens, this.blockTokens);
    if (numLeft <= 0) return;
    const tokens = this.#readBlock(source, match.numBlocks, numLeft);
    const parent = match.numBlocks === 0 ? NO_BLOCK : match.blocks[match.numBlocks - 1]!;
    match.tail = this.#index.findTail(salt, parent, tokens);
    if (match.tail !== NO_BLOCK) match.numTailTokens = this.#index.numShared(match.tail, tokens);
  }

  /** A new table that begins with the matched blocks. */
  open(salt: string, match: PrefixMatch): BlockTable {
    const table = new BlockTable(salt);
    for (let i = 0; i < match.numBlocks; i++) {
      this.#retain(match.blocks[i]!);
      table.push(match.blocks[i]!);
    }
    table.numIndexed = match.numBlocks;
    return table;
  }

  /**
   * Adds the matched tail to a table that was just opened with the match, where nobody else has it: whoever takes it goes
   * on writing into it, so it is found no more. It is one of the blocks that the table needs anyway.
   * @returns the tokens of it that are computed
   */
  takeTail(table: BlockTable, { tail, numTailTokens }: PrefixMatch): number {
    if (tail === NO_BLOCK || this.#pool.refCount(tail) > 0) return 0;
    this.#retain(tail);
    this.#index.remove(tail);
    table.push(tail);
    return numTailTokens;
  }

  /**
   * What is computed of the last block of a table is found from now on. For a table that is not written any more.
   * @param numTokens computed positions
   */
  keepTail(table: BlockTable, source: TokenSource, numTokens: number): void {
    const [numFull, numLeft] = [Math.floor(numTokens / this.blockTokens), numTokens % this.blockTokens];
    if (!this.prefixCache || numLeft === 0 || table.numIndexed !== numFull || table.numBlocks <= numFull) return;
    const own = table.at(numFull);
    // Forks of the sequence may still write behind what they share.
    if (this.#pool.refCount(own) > 1 || this.#index.has(own)) return;
    const parent = numFull === 0 ? NO_BLOCK : table.at(numFull - 1);
    this.#index.insertTail(own, table.salt, parent, this.#readBlock(source, numFull, numLeft));
  }

  /**
   * Makes positions [start, end) of `table` writable: adds blocks, and copies the first one where it is shared.
   * @param start where its computed positions end, or those that steps under way compute
   * @param copies the copies that the backend has to make before it writes are appended here
   * @returns false, with nothing changed, when too few blocks are free
   */
  prepareWrite(table: BlockTable, start: number, end: number, copies: BlockCopy[]): boolean {
    const first = Math.floor(start / this.blockTokens);
    const numNew = this.#numNewBlocks(table, end);
    const shared = this.#isShared(table, first);
    if (numNew + (shared ? 1 : 0) > this.#pool.numFree) return false;
    if (shared) {
      const from = table.at(first);
      const to = this.#take();
      copies.push({ from, to });
      table.set(first, to);
      this.#release(from);
    } else if (first < table.numBlocks) {
      this.#index.remove(table.at(first));
    }
    for (let i = 0; i < numNew; i++) table.push(this.#take());
    return true;
  }

  /** Free blocks that `prepareWrite` would take. */
  numBlocksToWrite(table: BlockTable, start: number, end: number): number {
    const isShared = this.#isShared(table, Math.floor(start / this.blockTokens));
    return this.#numNewBlocks(table, end) + (isShared ? 1 : 0);
  }

  /**
   * The first `numTokens` positions of `table` are computed: their full blocks may be found from now on.
   * Call it after the step, never before: others would read what is not written yet.
   */
  commit(table: BlockTable, source: TokenSource, numTokens: number): void {
    if (!this.prefixCache) return;
    const numFull = Math.floor(numTokens / this.blockTokens);
    for (let i = table.numIndexed; i < numFull; i++) {
      const own = table.at(i);
      const parent = i === 0 ? NO_BLOCK : table.at(i - 1);
      // After a fork at a block boundary the same block is committed through both tables; the second finds it indexed.
      const canonical = this.#index.has(own)
        ? own
        : this.#index.findOrInsert(own, table.salt, parent, this.#readBlock(source, i));
      if (canonical !== own) {
        this.#retain(canonical);
        table.set(i, canonical);
        this.#release(own);
      }
      table.numIndexed = i + 1;
    }
  }

  /**
   * A second table over the same blocks; whoever first writes into a shared one gets a copy of it. Only of a table that
   * ends with its computed positions: `prepareWrite` looks for a shared block where a write begins, not behind it.
   */
  fork(table: BlockTable): BlockTable {
    const child = new BlockTable(table.salt);
    for (let i = 0; i < table.numBlocks; i++) {
      this.#retain(table.at(i));
      child.push(table.at(i));
    }
    child.numIndexed = table.numIndexed;
    return child;
  }

  /** Drops what lies behind the first `numTokens` positions (rejected speculation, an edited history). */
  truncate(table: BlockTable, numTokens: number): void {
    const numKept = this.numBlocksFor(numTokens);
    while (table.numBlocks > numKept) this.#release(table.pop());
    table.numIndexed = Math.min(table.numIndexed, Math.floor(numTokens / this.blockTokens));
  }

  /** Gives all blocks back, last first. */
  release(table: BlockTable): void {
    this.truncate(table, 0);
  }

  /** The pool's content is lost: no prefix may be found any more. Tables must have been released. */
  forgetContent(): void {
    for (let block = 0; block < this.numBlocks; block++) {
      if (this.#pool.refCount(block) > 0) throw new Error(`KV block ${block} is still in a table.`);
      this.#index.remove(block);
    }
    this.#numCached = 0;
  }

  /** Is this free block's content worth nothing? For tests, which poison it. */
  isVacant(block: number): boolean {
    return this.#pool.refCount(block) === 0 && !this.#index.has(block);
  }

  /** Throws where an invariant of this class is broken. @param tables every live table */
  checkInvariants(tables: Iterable<BlockTable>): void {
    this.#pool.checkInvariants();
    const owners = new Int32Array(this.numBlocks);
    for (const table of tables) {
      for (let i = 0; i < table.numBlocks; i++) {
        const block = table.at(i);
        owners[block]!++;
        if (i < table.numIndexed && !this.#index.has(block)) throw new Error(`Block ${block} should be indexed.`);
      }
      if (new Set(table.view).size !== table.numBlocks) throw new Error(`A table names a block twice: ${table.view}.`);
    }
    for (let block = 0; block < this.numBlocks; block++) {
      if (owners[block] !== this.#pool.refCount(block)) {
        throw new Error(`Block ${block} is in ${owners[block]} tables, its count is ${this.#pool.refCount(block)}.`);
      }
    }
    const numCached = this.#pool.freeBlocks().filter((block) => this.#index.has(block)).length;
    if (numCached !== this.#numCached) throw new Error(`${numCached} cached blocks, counter ${this.#numCached}.`);
  }

  /** Throws where a beginning was forgotten before what comes after it. For tests. */
  checkChains(): void {
    this.#index.checkChains();
  }

  /** @param numTokens of the block; the others are not there */
  #readBlock(source: TokenSource, index: number, numTokens = this.blockTokens): Int32Array {
    const start = index * this.blockTokens;
    for (let i = 0; i < numTokens; i++) this.#scratch[i] = source.tokenAt(start + i);
    return numTokens === this.blockTokens ? this.#scratch : this.#scratch.subarray(0, numTokens);
  }

  #numNewBlocks(table: BlockTable, end: number): number {
    return Math.max(0, this.numBlocksFor(end) - table.numBlocks);
  }

  #isShared(table: BlockTable, index: number): boolean {
    return index < table.numBlocks && this.#pool.refCount(table.at(index)) > 1;
  }

  #take(): number {
    const block = this.#pool.take();
    if (this.#index.has(block)) {
      this.#index.remove(block);
      this.#numCached--;
    }
    return block;
  }

  #retain(block: number): void {
    if (this.#pool.retain(block) && this.#index.has(block)) this.#numCached--;
  }

  #release(block: number): void {
    const indexed = this.#index.has(block);
    if (this.#pool.release(block, indexed) && indexed) this.#numCached++;
  }
}
