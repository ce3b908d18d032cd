/** The bucket against its definition, whatever is asked of it in whatever order and whatever the clock does. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decide, type LimitBuckets, NO_BUCKETS, reservedTokens, settled } from "../../../src/edge/limits/key-limits.ts";
import { goDuration, limitHeaders } from "../../../src/edge/limits/limit-headers.ts";
import { fullBucket, refilled, taken, waitMs } from "../../../src/edge/limits/token-bucket.ts";

const MINUTE_MS = 60_000;

/** A request that takes so much, and gives back what it did not use. */
type Step = { passMs: number } & ({ take: number; use: number } | { settleOldest: true });

const step = (passMs: fc.Arbitrary<number>): fc.Arbitrary<Step> =>
  fc.oneof(
    fc.record({ passMs, take: fc.integer({ min: 0, max: 300 }), use: fc.integer({ min: 0, max: 300 }) }),
    fc.record({ passMs, settleOldest: fc.constant(true as const) }),
  );

/** Runs the steps; counts what was granted, and by what the clock went forward and back by more than a minute. */
function run(capacity: number, steps: readonly Step[]) {
  const limits = { requests: null, tokens: capacity };
  let nowMs = 100_000_000_000;
  let latestMs = nowMs;
  let buckets: LimitBuckets = decide(NO_BUCKETS, limits, { requests: 1, tokens: 0 }, nowMs).buckets;
  let forwardMs = 0;
  let numResets = 0;
  const open: { reserved: number; use: number }[] = [];
  let numUsed = 0;
  let numReserved = 0;
  for (const each of steps) {
    nowMs += each.passMs;
    if (nowMs <= latestMs - MINUTE_MS) {
      numResets++;
      latestMs = nowMs;
    }
    forwardMs += Math.max(0, nowMs - latestMs);
    latestMs = Math.max(latestMs, nowMs);
    if ("take" in each) {
      const decision = decide(buckets, limits, { requests: 1, tokens: each.take }, nowMs);
      buckets = decision.buckets;
      if (decision.refusedBy === null) {
        const reserved = reservedTokens(limits, each.take);
        // Nothing uses more than was set aside for it here: that is a test of its own.
        open.push({ reserved, use: Math.min(each.use, reserved) });
        numReserved += reserved;
      } else {
        expect(decision.retryAfterMs).toBeGreaterThan(0);
      }
    } else {
      const ended = open.shift();
      if (ended === undefined) continue;
      buckets = settled(buckets, limits, ended.reserved - ended.use, nowMs);
      numUsed += ended.use;
      numReserved -= ended.reserved;
    }
    expect(buckets.tokens?.level ?? 0).toBeLessThanOrEqual(capacity + 1e-9);
    const allowed = capacity * (1 + forwardMs / MINUTE_MS + numResets);
    expect(numUsed + numReserved).toBeLessThanOrEqual(allowed + 1e-6);
  }
}

describe("a bucket grants no more than a minute's worth and what flew in since", () => {
  test("with a clock that goes forward, settled in any order", () => {
    const forward = fc.integer({ min: 0, max: 90_000 });
    fc.assert(fc.property(fc.integer({ min: 1, max: 250 }), fc.array(step(forward), { maxLength: 60 }), run), {
      numRuns: 400,
    });
  });

  test("with a clock that jumps back and forth by seconds or hours", () => {
    const jumps = fc.oneof(fc.integer({ min: -50_000, max: 50_000 }), fc.integer({ min: -9_000_000, max: 9_000_000 }));
    fc.assert(fc.property(fc.integer({ min: 1, max: 250 }), fc.array(step(jumps), { maxLength: 60 }), run), {
      numRuns: 400,
    });
  });
});

test("a clock that is set back an hour does not starve a key for an hour", () => {
  const empty = taken(fullBucket(60, 10_000_000), 60, 60);
  const back = refilled(empty, 60, 10_000_000 - 3_600_000);
  expect(refilled(back, 60, 10_000_000 - 3_600_000 + 30_000).level).toBeCloseTo(30);
});

test("waiting as long as it says is enough, and a millisecond less is not", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), fc.integer({ min: 1, max: 2000 }), (capacity, amount) => {
      const empty = taken(fullBucket(capacity, 0), capacity, capacity);
      const waitedMs = waitMs(empty, capacity, amount);
      expect(waitMs(refilled(empty, capacity, waitedMs), capacity, amount - 1e-6)).toBe(0);
      expect(waitMs(refilled(empty, capacity, waitedMs - 1), capacity, amount)).toBeGreaterThan(0);
    }),
  );
});

test("a request that takes more than was set aside is paid for by the next", () => {
  const limits = { requests: null, tokens: 100 };
  const first = decide(NO_BUCKETS, limits, { requests: 1, tokens: 10 }, 0);
  const after = settled(first.buckets, limits, 10 - 160, 0);
  const next = decide(after, limits, { requests: 1, tokens: 10 }, 0);
  expect(next).toMatchObject({ refusedBy: "tokens", states: { tokens: { limit: 100, remaining: 0 } } });
  // It owes 60 and wants 10, at 100 a minute.
  expect(next.retryAfterMs).toBe(42_000);
});

test("both limits or none: what the one refuses, the other does not pay", () => {
  const limits = { requests: 10, tokens: 100 };
  const first = decide(NO_BUCKETS, limits, { requests: 1, tokens: 100 }, 0);
  const second = decide(first.buckets, limits, { requests: 1, tokens: 50 }, 0);
  expect(second.refusedBy).toBe("tokens");
  expect(second.states.requests!.remaining).toBe(9);
});

test.each([
  [0, "0s"],
  [12, "12ms"],
  [1000, "1s"],
  [1500, "1.5s"],
  [59_999, "59.999s"],
  [360_000, "6m0s"],
  [3_723_004, "1h2m3.004s"],
])("%i ms are %s in Go", (ms, text) => {
  expect(goDuration(ms)).toBe(text);
});

test("limits that a key has not are not spoken of", () => {
  const { states } = decide(NO_BUCKETS, { requests: 60, tokens: null }, { requests: 1, tokens: 5 }, 0);
  expect(limitHeaders(states)).toEqual({
    "x-ratelimit-limit-requests": "60",
    "x-ratelimit-remaining-requests": "59",
    "x-ratelimit-reset-requests": "1s",
  });
});
