/** First in, first out in amortised O(1): taken entries are dropped together when the queue runs empty or half of it is. */
export class EventQueue<T> {
  #entries: T[] = [];
  #head = 0;

  get length(): number {
    return this.#entries.length - this.#head;
  }

  push(entry: T): void {
    this.#entries.push(entry);
  }

  /** The oldest entry, or null. */
  shift(): T | null {
    if (this.#head === this.#entries.length) return null;
    const entry = this.#entries[this.#head++]!;
    if (this.#head * 2 >= this.#entries.length) {
      this.#entries.splice(0, this.#head);
      this.#head = 0;
    }
    return entry;
  }

  clear(): void {
    this.#entries = [];
    this.#head = 0;
  }
}
