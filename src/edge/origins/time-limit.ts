/** Waiting for I/O no longer than somebody is willing to. */
import type { Clock } from "../../api/clock.ts";

export class TimeLimitPassed extends Error {
  constructor() {
    super("The time limit has passed.");
    this.name = "TimeLimitPassed";
  }
}

/** @throws TimeLimitPassed; the work goes on by itself then, and whoever began it ends it */
export function within<T>(clock: Clock, limitMs: number, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = clock.after(limitMs, () => reject(new TimeLimitPassed()));
    work.then(
      (value) => {
        stop();
        resolve(value);
      },
      (cause) => {
        stop();
        reject(cause);
      },
    );
  });
}
