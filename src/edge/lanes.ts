import { fnv1a } from "../api/fnv1a.ts";

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
