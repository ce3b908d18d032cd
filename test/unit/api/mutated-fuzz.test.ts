/** A part of what `node scripts/fuzz-api.ts --count 100000` sends. */
import { expect, test } from "vitest";
import { faultOf, mutatedBodies } from "./mutated-bodies.ts";

const NUM_BODIES = 10_000;

test(`${NUM_BODIES} mutated bodies for all routes never give a 500`, { timeout: 300_000 }, async () => {
  const next = await mutatedBodies(1);
  let numAnswered = 0;
  for (let i = 0; i < NUM_BODIES; i++) {
    const fuzzed = await next();
    expect([faultOf(fuzzed), fuzzed]).toEqual([null, fuzzed]);
    if (fuzzed.status < 300) numAnswered++;
  }
  // Both sides of the border were tried.
  expect(numAnswered).toBeGreaterThan(NUM_BODIES / 20);
  expect(numAnswered).toBeLessThan(NUM_BODIES / 1.2);
});
