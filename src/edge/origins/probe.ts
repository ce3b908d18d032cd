/** Asks an origin that failed whether it is there again. Nothing runs in the background: a request that comes by asks. */
import type { Origin } from "./origin.ts";
import type { OriginHost } from "./origin-host.ts";
import { within } from "./time-limit.ts";

/** A server that needs longer for its list of models is not well. */
const PROBE_MS = 5_000;

/** Tells the origin's breaker. Never rejects. */
export async function probe(origin: Origin, { upstreamOf, clock }: OriginHost): Promise<void> {
  const { breaker } = origin;
  breaker.began(clock.nowMs());
  const ask = upstreamOf(origin).probe;
  const controller = new AbortController();
  try {
    const isThere = ask === null || (await within(clock, PROBE_MS, ask(controller.signal)));
    if (isThere) breaker.probed();
    else breaker.failed(clock.nowMs());
  } catch {
    breaker.failed(clock.nowMs());
  } finally {
    controller.abort();
  }
}
