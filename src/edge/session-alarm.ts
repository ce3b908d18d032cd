/**
 * The one alarm of a session's object. Everybody who wants it says when, and it is set to the first of them; who was not
 * meant when it rings says again when. What is due follows from what is stored, so an alarm outlives its object's life.
 */

/** To ring that much too early costs nothing but to look. */
const SLACK_MS = 60_000;

export class SessionAlarm {
  readonly #storage: DurableObjectStorage;
  readonly #dueMs: () => (number | null)[];
  /** What it is set to; null = it is not, undefined = this life does not know. */
  #setMs: number | null | undefined;

  /** @param dueMs when each of those who use it wants it; null = not at all */
  constructor(storage: DurableObjectStorage, dueMs: () => (number | null)[]) {
    this.#storage = storage;
    this.#dueMs = dueMs;
  }

  /**
   * To be called whenever something else may be due. Called beside a write it is durable with it: there is no await
   * between. Setting it costs a written row, so it is not moved for less than it is worth. Storage that fails rejects,
   * never throws: no caller may be left half-way for an alarm.
   */
  async replan(): Promise<void> {
    const due = this.#dueMs().filter((ms) => ms !== null);
    const nextMs = due.length === 0 ? null : Math.min(...due);
    const setMs = this.#setMs ?? null;
    if (nextMs === this.#setMs) return;
    if (setMs !== null && nextMs !== null && setMs <= nextMs && nextMs - setMs < SLACK_MS) return;
    this.#setMs = nextMs;
    try {
      await (nextMs === null ? this.#storage.deleteAlarm() : this.#storage.setAlarm(nextMs));
    } catch (cause) {
      this.#setMs = undefined;
      throw cause;
    }
  }

  /** It has rung, or was deleted with all else: it is not set any more. */
  rang(): void {
    this.#setMs = null;
  }
}
