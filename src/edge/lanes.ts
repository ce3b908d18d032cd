/**
 * Which lane answers a stateless request. Equal keys meet in one lane, so a prefix that was computed once is found
 * again; without a key the request id spreads the load.
 *
 * Why four: a lane is a Durable Object, one thread with its own copy of the weights and its own prefix cache. More lanes
 * decode more streams in parallel, but split the batches (a step for four streams costs little more than for one) and
 * the cache, and each has to load the model once. Four keep a cold region at four loads and still use four cores.
 */
export const NUM_LANES = 4;

export function laneName(key: string): string {
  return `lane-${fnv1a(key) % NUM_LANES}`;
}

/** The lane that readiness is asked of. */
export const FIRST_LANE = "lane-0";

/** FNV-1a, 32 bits, over UTF-16 code units. Spreads well enough for a handful of lanes; no secret depends on it. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return hash >>> 0;
}
