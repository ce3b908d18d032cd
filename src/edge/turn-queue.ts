/**
 * Whose turn it is: one holds the place, others wait in the order they came, and the place goes from hand to hand, so
 * that nobody who comes meanwhile gets in between.
 */
export class TurnQueue {
  #isTaken = false;
  readonly #waiting: (() => void)[] = [];

  get isTaken(): boolean {
    return this.#isTaken;
  }

  get numWaiting(): number {
    return this.#waiting.length;
  }

  /** The place, now or when all who came before have passed it on. Where it is free it is taken before this returns. */
  take(): Promise<TurnPlace> {
    const place = new TurnPlace(() => this.#passOn());
    if (this.#isTaken) return new Promise((resolve) => this.#waiting.push(() => resolve(place)));
    this.#isTaken = true;
    return Promise.resolve(place);
  }

  #passOn(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#isTaken = false;
    else next();
  }
}

export class TurnPlace {
  #passOn: (() => void) | null;

  constructor(passOn: () => void) {
    this.#passOn = passOn;
  }

  /** Gives the place to the first who waits. Safe any number of times. */
  pass(): void {
    const passOn = this.#passOn;
    this.#passOn = null;
    passOn?.();
  }
}
