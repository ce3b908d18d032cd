/**
 * The waiting line: first come first served, with a way to the head for the preempted. A Set keeps insertion order and
 * removes from the middle in O(1), as an abort does; the few that were put in front are a stack before it.
 */
import type { Sequence } from "./sequence.ts";

export class SequenceQueue {
  /** Last element is the head of the queue. */
  readonly #front: Sequence[] = [];
  readonly #back = new Set<Sequence>();

  get length(): number {
    return this.#front.length + this.#back.size;
  }

  get first(): Sequence | null {
    if (this.#front.length > 0) return this.#front[this.#front.length - 1]!;
    // Asked in every step: an empty Set's iterator would be garbage each time.
    if (this.#back.size === 0) return null;
    return this.#back.values().next().value ?? null;
  }

  pushBack(sequence: Sequence): void {
    this.#back.add(sequence);
  }

  pushFront(sequence: Sequence): void {
    this.#front.push(sequence);
  }

  remove(sequence: Sequence): void {
    if (this.#back.delete(sequence)) return;
    const index = this.#front.lastIndexOf(sequence);
    if (index >= 0) this.#front.splice(index, 1);
  }

  *[Symbol.iterator](): Iterator<Sequence> {
    for (let i = this.#front.length - 1; i >= 0; i--) yield this.#front[i]!;
    yield* this.#back;
  }
}
