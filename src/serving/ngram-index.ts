/**
 * Where each n-gram of a growing token sequence was seen last. A hash table with open addressing whose entries are bare
 * positions: the n-gram itself is read from the sequence, so an entry costs 4 bytes and a hash collision only a probe.
 * One insertion and one look-up for each token, each O(1) on average; never more than half full.
 */

import { fmix32 } from "./block-hash.ts";
import type { TokenSource } from "./block-manager.ts";

const NUM_SLOTS_MIN = 64;

export class NgramIndex {
  /** Tokens of an n-gram. */
  readonly length: number;
  /** The position after an n-gram, which is at least `length`; 0 = empty. The number of slots is a power of two. */
  #slots: Int32Array = new Int32Array(NUM_SLOTS_MIN);
  #numEntries = 0;

  constructor(length: number) {
    if (!Number.isInteger(length) || length < 1) throw new Error(`An n-gram has at least 1 token, got ${length}.`);
    this.length = length;
  }

  get memoryBytes(): number {
    return this.#slots.byteLength;
  }

  /** The n-gram that ends before position `end` (at least `length`) was seen there. */
  insert(tokens: TokenSource, end: number): void {
    const slot = this.#slotOf(tokens, end);
    if (this.#slots[slot] === 0) this.#numEntries++;
    this.#slots[slot] = end;
    if (this.#numEntries * 2 > this.#slots.length) this.#grow(tokens);
  }

  /** The end of the last inserted occurrence of the n-gram that ends before position `end`; 0 = none. */
  find(tokens: TokenSource, end: number): number {
    return this.#slots[this.#slotOf(tokens, end)]!;
  }

  clear(): void {
    this.#slots.fill(0);
    this.#numEntries = 0;
  }

  /** The slot of this n-gram, or the empty one where it belongs. */
  #slotOf(tokens: TokenSource, end: number): number {
    const mask = this.#slots.length - 1;
    let slot = this.#hash(tokens, end) & mask;
    while (this.#slots[slot] !== 0 && !this.#isEqual(tokens, this.#slots[slot]!, end)) slot = (slot + 1) & mask;
    return slot;
  }

  #hash(tokens: TokenSource, end: number): number {
    let hash = 0;
    for (let i = end - this.length; i < end; i++) hash = fmix32(Math.imul(hash, 31) + tokens.tokenAt(i) + 1);
    return hash;
  }

  #isEqual(tokens: TokenSource, end: number, otherEnd: number): boolean {
    for (let i = 1; i <= this.length; i++) {
      if (tokens.tokenAt(end - i) !== tokens.tokenAt(otherEnd - i)) return false;
    }
    return true;
  }

  #grow(tokens: TokenSource): void {
    const old = this.#slots;
    this.#slots = new Int32Array(old.length * 2);
    for (const end of old) if (end !== 0) this.#slots[this.#slotOf(tokens, end)] = end;
  }
}
