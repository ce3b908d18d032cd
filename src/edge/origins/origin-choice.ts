/**
 * Which origin a request tries next. Origins that failed are probed on the way: beside the request where another one can
 * take it, before it where none can.
 */
import { type ApiError, unavailable } from "../../protocol/errors.ts";
import { chooseOrigin } from "./balancer.ts";
import type { Origin, OriginModel, OriginPlace } from "./origin.ts";
import type { OriginHost } from "./origin-host.ts";
import { probe } from "./probe.ts";

/** Where an origin wants to be left alone for no longer than this, waiting is shorter than an error and a retry. */
const REST_WAITED_MS_MAX = 2_000;
const RETRY_S_MAX = 60;

export interface OriginWish {
  model: OriginModel;
  /** Requests with the same key go to the same origin where it has room. */
  affinityKey: string;
  /** Only origins that can go on with an answer's first words. */
  needsExtras: boolean;
}

export class OriginChoice {
  readonly #wish: OriginWish;
  readonly #host: OriginHost;
  readonly #places: readonly OriginPlace[];
  readonly #tried = new Set<Origin>();
  #hasWaited = false;

  constructor(wish: OriginWish, host: OriginHost) {
    this.#wish = wish;
    this.#host = host;
    this.#places = wish.model.places.filter(({ origin }) => !wish.needsExtras || origin.knowsExtras);
  }

  /** @returns one that was not tried, or that has rested since; null = there is none */
  async next(): Promise<OriginPlace | null> {
    const probes = this.#probeDue();
    let place = this.#available();
    if (place === null && probes.length > 0) {
      await Promise.all(probes);
      place = this.#available();
    }
    if (place === null) place = await this.#rested();
    if (place !== null) this.#tried.add(place.origin);
    return place;
  }

  /** What to say where there was none from the beginning. */
  noneLeft(): ApiError {
    const nowMs = this.#host.clock.nowMs();
    const availableAtMs = Math.min(...this.#places.map(({ origin }) => origin.availableAtMs(nowMs)));
    const waitS = Math.ceil((availableAtMs - nowMs) / 1000);
    const retryAfterS = Number.isFinite(waitS) ? Math.min(Math.max(waitS, 1), RETRY_S_MAX) : RETRY_S_MAX;
    return unavailable(`No origin of the model '${this.#wish.model.id}' is available right now. Retry.`, retryAfterS);
  }

  #available(): OriginPlace | null {
    const nowMs = this.#host.clock.nowMs();
    const free = this.#places.filter(({ origin }) => !this.#tried.has(origin) && origin.isAvailable(nowMs));
    if (free.length === 0) return null;
    const chosen = chooseOrigin(
      free.map(({ origin }) => origin),
      this.#wish.affinityKey,
    );
    return free.find(({ origin }) => origin === chosen)!;
  }

  #probeDue(): Promise<void>[] {
    const nowMs = this.#host.clock.nowMs();
    const due = this.#places.filter(({ origin }) => origin.breaker.isProbeDue(nowMs));
    const probes = due.map(({ origin }) => probe(origin, this.#host));
    for (const asked of probes) this.#host.background(asked);
    return probes;
  }

  /** Waits once for an origin that asked for a short rest, whether it was tried or not. */
  async #rested(): Promise<OriginPlace | null> {
    const { clock } = this.#host;
    const nowMs = clock.nowMs();
    const resting = this.#places
      .filter(({ origin }) => origin.breaker.admits(nowMs) && origin.restUntilMs > nowMs)
      .sort((a, b) => a.origin.restUntilMs - b.origin.restUntilMs)[0];
    if (resting === undefined || this.#hasWaited) return null;
    const waitMs = resting.origin.restUntilMs - nowMs;
    if (waitMs > REST_WAITED_MS_MAX) return null;
    this.#hasWaited = true;
    await new Promise<void>((resolve) => clock.after(waitMs, resolve));
    return resting;
  }
}
