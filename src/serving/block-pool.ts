/**
 * Physical KV blocks by reference count, and the free ones in the order in which they will be reused.
 *
 * The free list is doubly linked through two typed arrays (no objects, every operation O(1)). Its head is reused first:
 * blocks that hold nothing of use are put at the head, blocks that hold a reusable prefix at the tail, so the list is
 * least-recently-used order over the cached ones. What a free block holds stays there until `take` hands it out.
 *
 * Invariant: a block is in the free list if and only if its reference count is 0.
 */
export class BlockPool {
  readonly numBlocks: number;
  readonly #refCounts: Int32Array;
  /** Links of the free list; index `numBlocks` is its sentinel. */
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  #numFree = 0;

  constructor(numBlocks: number) {
    if (!Number.isInteger(numBlocks) || numBlocks < 1) {
      throw new Error(`A block pool needs at least 1 block, got ${numBlocks}.`);
    }
    this.numBlocks = numBlocks;
    this.#refCounts = new Int32Array(numBlocks);
    this.#next = new Int32Array(numBlocks + 1).fill(numBlocks);
    this.#previous = new Int32Array(numBlocks + 1).fill(numBlocks);
    for (let block = 0; block < numBlocks; block++) this.#linkBefore(numBlocks, block);
  }

  get numFree(): number {
    return this.#numFree;
  }

  refCount(block: number): number {
    return this.#refCounts[block]!;
  }

  /** Takes the block whose content is missed least; the caller forgets that content. */
  take(): number {
    const block = this.#next[this.numBlocks]!;
    if (block === this.numBlocks) throw new Error(`All ${this.numBlocks} KV blocks are in use.`);
    this.#unlink(block);
    this.#refCounts[block] = 1;
    return block;
  }

  /** One more owner. A free block leaves the free list with its content.
   * @returns true when the block was free */
  retain(block: number): boolean {
    const wasFree = this.#refCounts[block] === 0;
    if (wasFree) this.#unlink(block);
    this.#refCounts[block]!++;
    return wasFree;
  }

  /**
   * One owner less.
   * @param reusable the content is worth keeping: queue behind all others, not before
   * @returns true when the block is free now
   */
  release(block: number, reusable: boolean): boolean {
    const refCount = this.#refCounts[block]! - 1;
    if (refCount < 0) throw new Error(`KV block ${block} was released more often than it was taken.`);
    this.#refCounts[block] = refCount;
    if (refCount > 0) return false;
    this.#linkBefore(reusable ? this.numBlocks : this.#next[this.numBlocks]!, block);
    return true;
  }

  /** Free blocks, the next to be reused first. For tests and invariants. */
  freeBlocks(): number[] {
    const blocks: number[] = [];
    for (let block = this.#next[this.numBlocks]!; block !== this.numBlocks; block = this.#next[block]!) {
      blocks.push(block);
    }
    return blocks;
  }

  /** Throws where the class invariant is broken. */
  checkInvariants(): void {
    const free = new Set(this.freeBlocks());
    if (free.size !== this.#numFree) throw new Error(`Free list has ${free.size} blocks, counter ${this.#numFree}.`);
    for (let block = 0; block < this.numBlocks; block++) {
      if (free.has(block) !== (this.#refCounts[block] === 0)) {
        throw new Error(`Block ${block} has ${this.#refCounts[block]} owners and in free list = ${free.has(block)}.`);
      }
    }
  }

  #linkBefore(successor: number, block: number): void {
    const predecessor = this.#previous[successor]!;
    this.#next[predecessor] = block;
    this.#previous[block] = predecessor;
    this.#next[block] = successor;
    this.#previous[successor] = block;
    this.#numFree++;
  }

  #unlink(block: number): void {
    const predecessor = this.#previous[block]!;
    const successor = this.#next[block]!;
    this.#next[predecessor] = successor;
    this.#previous[successor] = predecessor;
    this.#numFree--;
  }
}
