/**
 * The waiting line: by priority, then first come first served, with a way to the head for the preempted, whatever their
 * priority (they have begun). A line for each priority that waits, almost always one; each is a Set, which keeps insertion
 * order and removes from the middle in O(1), as an abort does. The few that were put in front are a stack before them.
 */
import type { Sequence } from "./sequence.ts";

interface Line {
  priority: number;
  sequences: Set<Sequence>;
}

export class SequenceQueue {
  /** Last element is the head of the queue. */
  readonly #front: Sequence[] = [];
  /** By priority, the lowest first; none is empty. */
  readonly #lines: Line[] = [];
  #numInLines = 0;

  get length(): number {
    return this.#front.length + this.#numInLines;
  }

  get first(): Sequence | null {
    if (this.#front.length > 0) return this.#front[this.#front.length - 1]!;
    // Asked in every step: an iterator would be garbage each time that nobody waits.
    if (this.#lines.length === 0) return null;
    return this.#lines[0]!.sequences.values().next().value ?? null;
  }

  pushBack(sequence: Sequence): void {
    const { priority } = sequence;
    let at = this.#lines.findIndex((line) => line.priority >= priority);
    if (at < 0) at = this.#lines.length;
    if (this.#lines[at]?.priority !== priority) this.#lines.splice(at, 0, { priority, sequences: new Set() });
    this.#lines[at]!.sequences.add(sequence);
    this.#numInLines++;
  }

  pushFront(sequence: Sequence): void {
    this.#front.push(sequence);
  }

  remove(sequence: Sequence): void {
    const at = this.#lines.findIndex((line) => line.priority === sequence.priority);
    const line = this.#lines[at];
    if (line?.sequences.delete(sequence)) {
      this.#numInLines--;
      if (line.sequences.size === 0) this.#lines.splice(at, 1);
      return;
    }
    const index = this.#front.lastIndexOf(sequence);
    if (index >= 0) this.#front.splice(index, 1);
  }

  *[Symbol.iterator](): Iterator<Sequence> {
    for (let i = this.#front.length - 1; i >= 0; i--) yield this.#front[i]!;
    for (const line of this.#lines) yield* line.sequences;
  }
}
