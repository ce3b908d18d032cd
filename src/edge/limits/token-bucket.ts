/**
 * A bucket that fills by so much a minute, up to one minute's worth. Plain data and pure functions; the clock is the
 * caller's.
 *
 * Invariants:
 *  - it never holds more than its capacity, so at no time more can be taken at once;
 *  - a clock that is set back a little fills nothing twice: time counts from the latest moment that was seen. Set back by
 *    more than a minute, that moment was wrong, and time counts from the new one: worth one bucket at most;
 *  - what was taken and is given back fills it up to its capacity and no further.
 */

export interface Bucket {
  /** What is left, a fraction included; below zero where more was used than had been set aside. */
  level: number;
  /** The latest moment that was seen. */
  atMs: number;
}

const MINUTE_MS = 60_000;

export function fullBucket(capacity: number, nowMs: number): Bucket {
  return { level: capacity, atMs: nowMs };
}

/** The bucket now, with what has flown in since. */
export function refilled({ level, atMs }: Bucket, capacity: number, nowMs: number): Bucket {
  const passedMs = nowMs - atMs;
  if (passedMs <= -MINUTE_MS) return { level: Math.min(level, capacity), atMs: nowMs };
  const inflow = (Math.max(0, passedMs) * capacity) / MINUTE_MS;
  return { level: Math.min(capacity, level + inflow), atMs: Math.max(atMs, nowMs) };
}

/** Until `amount` can be taken; 0 = now. More than the capacity never comes together, so that is what is waited for. */
export function waitMs({ level }: Bucket, capacity: number, amount: number): number {
  const missing = Math.min(amount, capacity) - level;
  return missing <= 0 ? 0 : Math.ceil((missing * MINUTE_MS) / capacity);
}

/** @param amount below zero gives back */
export function taken({ level, atMs }: Bucket, capacity: number, amount: number): Bucket {
  return { level: Math.min(capacity, level - amount), atMs };
}

/** Until it is full. */
export function resetMs({ level }: Bucket, capacity: number): number {
  return Math.max(0, Math.ceil(((capacity - level) * MINUTE_MS) / capacity));
}
