/**
 * Sends requests at their times, at most so many at once. Time and sending come from outside, so that a test can run an
 * hour in a moment. Who waits for a place is sent in the order of arrival; that wait is the client's, not the server's.
 */
import type { RequestOutcome } from "./outcome.ts";

export interface LoadClock {
  nowMs(): number;
  /** Resolves at `timeMs`, or at once where that is past. */
  until(timeMs: number): Promise<void>;
}

export interface LoadRun<Request> {
  requests: readonly Request[];
  /** Of each request, since the run began; ascending. */
  arrivalsMs: readonly number[];
  /** Infinity = no bound. */
  maxConcurrency: number;
  clock: LoadClock;
  /** Must not throw. @param times when it is sent, since the run began, and how long it waited for a place */
  send(request: Request, times: { startMs: number; queueMs: number }): Promise<RequestOutcome>;
  onDone?: (numDone: number) => void;
}

export interface LoadResult {
  /** In the order of the requests. */
  outcomes: RequestOutcome[];
  /** From the beginning to the end of the last answer, failed ones included. */
  durationMs: number;
}

export async function runLoad<Request>(run: LoadRun<Request>): Promise<LoadResult> {
  const { requests, arrivalsMs, clock, send, onDone } = run;
  const places = new Places(run.maxConcurrency);
  const beganMs = clock.nowMs();
  let numDone = 0;
  const answers: Promise<RequestOutcome>[] = [];
  for (const [i, request] of requests.entries()) {
    await clock.until(beganMs + arrivalsMs[i]!);
    const arrivedMs = clock.nowMs();
    const answer = places.with(() => {
      const sentMs = clock.nowMs();
      return send(request, { startMs: sentMs - beganMs, queueMs: sentMs - arrivedMs });
    });
    answers.push(answer);
    void answer.then(() => onDone?.(++numDone));
  }
  const outcomes = await Promise.all(answers);
  return { outcomes, durationMs: clock.nowMs() - beganMs };
}

/** First come, first served. */
class Places {
  #numFree: number;
  readonly #waiting: (() => void)[] = [];

  constructor(numPlaces: number) {
    this.#numFree = numPlaces;
  }

  async with<T>(action: () => Promise<T>): Promise<T> {
    if (this.#numFree > 0) this.#numFree--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await action();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#numFree++;
      else next();
    }
  }
}
