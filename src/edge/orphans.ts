/**
 * Generations that nobody drives any more. A Durable Object that is reset takes its streams with it and tells nobody:
 * no destructor runs, and its generation would hold KV blocks, a place in every batch and the model itself for ever. So
 * each one is registered. One that was not asked for events for a while is aborted by whoever comes by, and those of an
 * object that starts anew at once.
 */

/** A reader that takes nothing for so long is gone, or so slow that a proxy on the way has dropped it. */
export const UNDRIVEN_MAX_MS = 60_000;
/** Looking at every generation at every step would cost more than it saves. */
const SWEEP_EVERY_MS = 5_000;

interface Abortable {
  abort(): void;
}

export class OrphanWatch<Watched extends Abortable = Abortable> {
  readonly #now: () => number;
  readonly #watched = new Map<Watched, { owner: string; drivenAtMs: number }>();
  #sweptAtMs: number;

  /** @param now milliseconds */
  constructor(now: () => number) {
    this.#now = now;
    this.#sweptAtMs = now();
  }

  get numWatched(): number {
    return this.#watched.size;
  }

  /** Those that have not been read to their end. */
  get watched(): Iterable<Watched> {
    return this.#watched.keys();
  }

  /** @param owner the object that drives it */
  add(generation: Watched, owner: string): void {
    this.#watched.set(generation, { owner, drivenAtMs: this.#now() });
  }

  /** Its owner just asked for its events. */
  driven(generation: Watched): void {
    const entry = this.#watched.get(generation);
    if (entry !== undefined) entry.drivenAtMs = this.#now();
  }

  ended(generation: Watched): void {
    this.#watched.delete(generation);
  }

  /** The owner begins a new life and knows nothing of what it drove before. */
  ownerRestarted(owner: string): void {
    this.#abortWhere((entry) => entry.owner === owner);
  }

  /** Aborts what was left alone. Cheap to call often. */
  sweep(): void {
    const nowMs = this.#now();
    if (nowMs - this.#sweptAtMs < SWEEP_EVERY_MS) return;
    this.#sweptAtMs = nowMs;
    this.#abortWhere(({ drivenAtMs }) => nowMs - drivenAtMs > UNDRIVEN_MAX_MS);
  }

  #abortWhere(isOrphan: (entry: { owner: string; drivenAtMs: number }) => boolean): void {
    for (const [generation, entry] of this.#watched) {
      if (!isOrphan(entry)) continue;
      this.#watched.delete(generation);
      generation.abort();
    }
  }
}
