/**
 * Keeps watching the session on screen, so that what another tab or device does shows here at once. A watch that ends is
 * begun again, later each time; where none can be opened (a proxy without WebSockets) the page does without after a few
 * attempts, and tries again when the reader comes back to it.
 */
import type { SessionWatcher, WatchedTurn } from "../net/session-socket.ts";
import type { LoadedSession } from "../state/reducer.ts";

const RETRY_MS = 1000;
const RETRY_GROWTH = 2;
const RETRY_MAX_MS = 30_000;
/** In a row, without one that opened. */
const ATTEMPTS_MAX = 6;

export interface WatchHost {
  watch(id: string, watcher: SessionWatcher): () => void;
  sleep(ms: number): Promise<void>;
  /** The session as it is when the watching begins, or begins again. */
  opened(session: LoadedSession): void;
  turn(id: string, turn: WatchedTurn): void;
  deleted(id: string): void;
}

export class SessionWatch {
  readonly #host: WatchHost;
  #current: { id: string; end: () => void } | null = null;

  constructor(host: WatchHost) {
    this.#host = host;
  }

  /** @param id null = none */
  show(id: string | null): void {
    if (id !== null && this.#current?.id === id) return;
    this.#current?.end();
    this.#current = null;
    if (id !== null) this.#begin(id, 0);
  }

  #begin(id: string, numFailedBefore: number): void {
    let numFailed = numFailedBefore;
    const current = { id, end: () => {} };
    this.#current = current;
    current.end = this.#host.watch(id, {
      opened: (session) => {
        numFailed = 0;
        this.#host.opened(session);
      },
      turn: (turn) => this.#host.turn(id, turn),
      closed: async (isDeleted) => {
        numFailed++;
        const isFinal = isDeleted || numFailed === ATTEMPTS_MAX;
        if (!isFinal) await this.#host.sleep(Math.min(RETRY_MS * RETRY_GROWTH ** (numFailed - 1), RETRY_MAX_MS));
        if (this.#current !== current) return;
        this.#current = null;
        if (!isFinal) this.#begin(id, numFailed);
        else if (isDeleted) this.#host.deleted(id);
      },
    });
  }
}
