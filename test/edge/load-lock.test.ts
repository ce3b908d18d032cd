import { expect, test } from "vitest";
import { LOADER_SILENCE_MAX_MS, LoadLock, LoadSuperseded } from "../../src/edge/load-lock.ts";

function lockWithClock() {
  const clock = { nowMs: 1_000 };
  return { clock, lock: new LoadLock(() => clock.nowMs) };
}

test("one holder at a time; the next one after its release", () => {
  const { lock } = lockWithClock();
  const first = lock.tryTake();
  expect(first).not.toBeNull();
  expect(lock.tryTake()).toBeNull();
  first!.release();
  expect(lock.tryTake()).not.toBeNull();
});

test("a holder that beats keeps the lock however long it takes", () => {
  const { clock, lock } = lockWithClock();
  const holder = lock.tryTake()!;
  for (let i = 0; i < 10; i++) {
    clock.nowMs += LOADER_SILENCE_MAX_MS;
    holder.beat();
    expect(lock.tryTake()).toBeNull();
  }
});

test("a holder that fell silent loses the lock, is told so, and cannot release its successor's", () => {
  const { clock, lock } = lockWithClock();
  const gone = lock.tryTake()!;
  clock.nowMs += LOADER_SILENCE_MAX_MS + 1;
  const successor = lock.tryTake();
  expect(successor).not.toBeNull();
  expect(() => gone.beat()).toThrow(LoadSuperseded);
  gone.release();
  expect(lock.tryTake()).toBeNull();
  successor!.beat();
});

test("a clock that is put back does not keep the lock of a holder that is gone", () => {
  const { clock, lock } = lockWithClock();
  clock.nowMs += 86_400_000;
  lock.tryTake();
  clock.nowMs -= 86_400_000;
  expect(lock.tryTake()).toBeNull();
  clock.nowMs += LOADER_SILENCE_MAX_MS + 1;
  expect(lock.tryTake()).not.toBeNull();
});
