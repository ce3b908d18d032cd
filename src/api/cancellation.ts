/** One cancellation for an event stream, however many ways its reader can go away. */
import type { EventStream } from "./model-service.ts";

export class Cancellation {
  readonly #events: EventStream;
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;
  #isOver = false;

  /** @param aborted called after the cancellation that the signal causes, not after one by `cancel()` */
  constructor(events: EventStream, signal: AbortSignal, aborted: () => void = () => {}) {
    this.#events = events;
    this.#signal = signal;
    this.#onAbort = () => {
      this.cancel();
      aborted();
    };
    signal.addEventListener("abort", this.#onAbort, { once: true });
    if (signal.aborted) this.#onAbort();
  }

  /** True from the cancellation or from the end of the events on. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** The events ended by themselves: there is nothing left to cancel. */
  finish(): void {
    this.#isOver = true;
    this.#signal.removeEventListener("abort", this.#onAbort);
  }

  cancel(): void {
    if (this.#isOver) return;
    this.finish();
    this.#events.cancel();
  }
}
