/** The host's part in talking to origins: what is I/O, time, or told to somebody. One for each request. */
import type { Clock } from "../../api/clock.ts";
import type { Log } from "../../api/log.ts";
import type { Origin } from "./origin.ts";
import type { Upstream } from "./upstream.ts";

export interface OriginHost {
  upstreamOf(origin: Origin): Upstream;
  clock: Clock;
  log: Log;
  /** Keeps the host alive for work that nobody waits for. It never rejects. */
  background(work: Promise<void>): void;
}
