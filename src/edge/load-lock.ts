/**
 * Who may load a model into this isolate right now. Several objects ask at once, but each owns its own I/O: a promise of
 * somebody else's fetch dies with that somebody (a client that disconnects, an object that is evicted) and would leave
 * the others hanging. So there is no shared promise: one holder loads with its own I/O and beats the lock with every
 * chunk, the others poll. A holder that stopped beating is taken for dead, and the next to ask takes over; should it
 * come back to life, its `beat()` throws and it gives up what it had.
 */

/** Without a chunk for this long a loader counts as gone. Reads from static assets and R2 stall far shorter than this. */
export const LOADER_SILENCE_MAX_MS = 5_000;

export interface LoadTicket {
  /** Says that the holder lives; throws `LoadSuperseded` when somebody else took over meanwhile. */
  beat(): void;
  release(): void;
}

/** This loader was silent for too long and another one has its place. */
export class LoadSuperseded extends Error {
  constructor() {
    super("Loading was taken over by another request.");
    this.name = "LoadSuperseded";
  }
}

export class LoadLock {
  readonly #now: () => number;
  #holder: { lastBeatAtMs: number } | null = null;

  /** @param now milliseconds; must move while callers wait, as timers make it on Workers */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** null = somebody is loading; ask again later. */
  tryTake(): LoadTicket | null {
    const current = this.#holder;
    if (current !== null && isBeating(current, this.#now())) return null;
    const mine = { lastBeatAtMs: this.#now() };
    this.#holder = mine;
    return {
      beat: () => {
        if (this.#holder !== mine) throw new LoadSuperseded();
        mine.lastBeatAtMs = this.#now();
      },
      release: () => {
        if (this.#holder === mine) this.#holder = null;
      },
    };
  }
}

/** A beat from the future is of a clock that was put back since: the silence is counted anew. */
function isBeating(holder: { lastBeatAtMs: number }, nowMs: number): boolean {
  holder.lastBeatAtMs = Math.min(holder.lastBeatAtMs, nowMs);
  return nowMs - holder.lastBeatAtMs <= LOADER_SILENCE_MAX_MS;
}
