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

/** A clock that jumps (set by hand, or a machine that slept) must neither end live streams nor keep dead ones for ever. */
const JUMP_MAX_MS = 2 * SWEEP_EVERY_MS;

interface Watchable {
  /** Ended, and read to its end. */
  readonly isDrained: boolean;
  abort(): void;
}

export class OrphanWatch<Watched extends Watchable = Watchable> {
  readonly #clock: () => number;
  readonly #watched = new Map<Watched, { owner: string; drivenAtMs: number }>();
  #clockMs: number;
  /** Time that passed while somebody looked, without the clock's jumps. */
  #elapsedMs = 0;
  #sweptAtMs = 0;

  /** @param clock milliseconds; may jump either way */
  constructor(clock: () => number) {
    this.#clock = clock;
    this.#clockMs = clock();
  }

  /** Generations that have not been read to their end. */
  get numLive(): number {
    return [...this.#watched.keys()].filter(({ isDrained }) => !isDrained).length;
  }

  /** May hold some that were read to their end since the last sweep. */
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

  /** Aborts what was left alone, and forgets what was read to its end. Cheap to call often. */
  sweep(): void {
    const nowMs = this.#now();
    if (nowMs - this.#sweptAtMs < SWEEP_EVERY_MS) return;
    this.#sweptAtMs = nowMs;
    for (const generation of this.#watched.keys()) if (generation.isDrained) this.#watched.delete(generation);
    this.#abortWhere(({ drivenAtMs }) => nowMs - drivenAtMs > UNDRIVEN_MAX_MS);
  }

  #now(): number {
    const clockMs = this.#clock();
    this.#elapsedMs += Math.min(Math.max(clockMs - this.#clockMs, 0), JUMP_MAX_MS);
    this.#clockMs = clockMs;
    return this.#elapsedMs;
  }

  #abortWhere(isOrphan: (entry: { owner: string; drivenAtMs: number }) => boolean): void {
    for (const [generation, entry] of this.#watched) {
      if (!isOrphan(entry)) continue;
      this.#watched.delete(generation);
      generation.abort();
    }
  }
}
