/**
 * How many answers an origin is giving to this isolate. A Durable Object that is reset, or a request that is cut, takes
 * its streams along and tells nobody, so a place that is not used for a while is nobody's.
 */

/** More than the longest wait between two signs of life of an answer that runs (`TIMEOUT_MS_MAX` of the configuration). */
const UNUSED_MS_MAX = 660_000;

export interface Place {
  /** It lives. */
  use(): void;
  /** Safe any number of times. */
  leave(): void;
}

export class InFlight {
  readonly #nowMs: () => number;
  /** When each was used last. */
  readonly #places = new Map<Place, number>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get count(): number {
    const sinceMs = this.#nowMs() - UNUSED_MS_MAX;
    for (const [place, usedAtMs] of this.#places) if (usedAtMs < sinceMs) this.#places.delete(place);
    return this.#places.size;
  }

  take(): Place {
    let isLeft = false;
    const place: Place = {
      use: () => {
        if (!isLeft) this.#places.set(place, this.#nowMs());
      },
      leave: () => {
        isLeft = true;
        this.#places.delete(place);
      },
    };
    place.use();
    return place;
  }
}
