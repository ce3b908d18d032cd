/** The circuit breaker over a clock of the test's, and over random histories. */
import fc from "fast-check";
import { expect, test } from "vitest";
import {
  CircuitBreaker,
  COOLDOWN_MS,
  COOLDOWN_MS_MAX,
  FAILURES_MAX,
} from "../../../src/edge/origins/circuit-breaker.ts";

function opened(nowMs = 0): CircuitBreaker {
  const breaker = new CircuitBreaker();
  for (let i = 0; i < FAILURES_MAX; i++) breaker.failed(nowMs);
  return breaker;
}

test("opens after failures in a row, and not after others between whole answers", () => {
  const breaker = new CircuitBreaker();
  for (let i = 0; i < 5; i++) {
    for (let j = 1; j < FAILURES_MAX; j++) breaker.failed(0);
    expect(breaker.admits(0)).toBe(true);
    breaker.completed();
  }
  expect(opened().admits(0)).toBe(false);
});

test("answers that begin and always break open it, too", () => {
  const breaker = new CircuitBreaker();
  for (let i = 0; i < FAILURES_MAX; i++) {
    breaker.began(0);
    breaker.responded();
    breaker.failed(0);
  }
  expect(breaker.admits(0)).toBe(false);
});

test("asks for one probe after its cool-down, lets one request try, and closes with its first token", () => {
  const breaker = opened();
  expect(breaker.isProbeDue(COOLDOWN_MS - 1)).toBe(false);
  expect(breaker.isProbeDue(COOLDOWN_MS)).toBe(true);
  breaker.began(COOLDOWN_MS);
  expect([breaker.isProbeDue(COOLDOWN_MS), breaker.admits(COOLDOWN_MS)]).toEqual([false, false]);
  breaker.probed();
  expect(breaker.admits(COOLDOWN_MS)).toBe(true);
  breaker.began(COOLDOWN_MS);
  expect(breaker.admits(COOLDOWN_MS)).toBe(false);
  breaker.responded();
  expect([breaker.admits(COOLDOWN_MS), breaker.isClosed]).toEqual([true, true]);
  // It has yet to show that an answer comes whole.
  breaker.failed(COOLDOWN_MS);
  expect(breaker.admits(COOLDOWN_MS)).toBe(false);
});

test("waits twice as long after each failure, up to a limit", () => {
  const breaker = opened();
  let nowMs = 0;
  const waits: number[] = [];
  for (let i = 0; i < 7; i++) {
    waits.push(breaker.dueAtMs! - nowMs);
    nowMs = breaker.dueAtMs!;
    breaker.began(nowMs);
    breaker.failed(nowMs);
  }
  expect(waits).toEqual([1, 2, 4, 8, 15, 15, 15].map((n) => n * COOLDOWN_MS));
  expect(15 * COOLDOWN_MS).toBe(COOLDOWN_MS_MAX);
});

test("a request on trial whose client leaves gives its place up; one that vanishes loses it", () => {
  const breaker = opened();
  breaker.probed();
  breaker.began(0);
  breaker.gaveUp();
  expect(breaker.admits(0)).toBe(true);
  breaker.began(0);
  expect(breaker.admits(59_000)).toBe(false);
  expect(breaker.admits(60_000)).toBe(true);
});

test("whatever happens, an origin that is well again is found", () => {
  const step = fc.constantFrom("began", "probed", "responded", "completed", "failed", "gaveUp", "wait");
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const breaker = new CircuitBreaker();
      let nowMs = 0;
      for (const one of steps) {
        if (one === "wait") nowMs += 1_700;
        else if (one === "began" || one === "failed") breaker[one](nowMs);
        else breaker[one]();
        // It is never both shut and without a way to open.
        const isReachable = breaker.admits(nowMs) || breaker.dueAtMs !== null || !breaker.isClosed;
        expect(isReachable).toBe(true);
      }
      nowMs += 60_000;
      if (breaker.isProbeDue(nowMs)) breaker.probed();
      expect(breaker.admits(nowMs)).toBe(true);
    }),
  );
});
