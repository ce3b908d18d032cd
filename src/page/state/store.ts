/**
 * Holds the state and tells the views, at most once a frame: tokens may come faster than the screen draws, and a
 * layout for each of them would be the slowest part of the page. The schedule is injected; `flush` draws at once.
 */
import { type Action, reduce } from "./reducer.ts";
import type { State } from "./state.ts";

export class Store {
  #state: State;
  #isScheduled = false;
  readonly #listeners: ((state: State) => void)[] = [];
  readonly #schedule: (draw: () => void) => void;

  constructor(initial: State, schedule: (draw: () => void) => void) {
    this.#state = initial;
    this.#schedule = schedule;
  }

  get state(): State {
    return this.#state;
  }

  dispatch(action: Action): void {
    const next = reduce(this.#state, action);
    if (next === this.#state) return;
    this.#state = next;
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#schedule(() => this.flush());
  }

  /** Called with the state after each frame's changes. */
  subscribe(listener: (state: State) => void): void {
    this.#listeners.push(listener);
  }

  flush(): void {
    this.#isScheduled = false;
    for (const listener of this.#listeners) listener(this.#state);
  }
}
