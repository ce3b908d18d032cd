import { expect, test } from "vitest";
import { CpuBudget } from "../../../src/edge/cpu-budget.ts";

const step = (numTokens: number, isNearlyOver = false) => ({
  numTokens,
  weightsBytes: 100_000_000,
  restoredBytes: 0,
  isNearlyOver,
});

test("is spent by work alone where the clock stands still: 20 s are a few hundred tokens of a 100 MB model", () => {
  const budget = new CpuBudget(20_000, () => 7);
  let numTokens = 0;
  for (; !budget.isSpent; numTokens++) budget.spend(step(1));
  expect(numTokens).toBe(400);
});

test("is spent by restoring as well: 100 MB in 2 s", () => {
  const budget = new CpuBudget(2_000, () => 7);
  const piece = { ...step(0), restoredBytes: 10_000_000 };
  for (let i = 0; i < 9; i++) budget.spend(piece);
  expect(budget.isSpent).toBe(false);
  budget.spend(piece);
  expect(budget.isSpent).toBe(true);
});

test("is spent by the clock where that moves faster, but not before the first step", () => {
  let nowMs = 0;
  const budget = new CpuBudget(1000, () => nowMs);
  nowMs = 5000;
  expect(budget.isSpent).toBe(false);
  budget.spend(step(1));
  expect(budget.isSpent).toBe(true);
});

test("is spent at once when the runtime says so, and by nothing else where it has no limit", () => {
  const budget = new CpuBudget(Number.POSITIVE_INFINITY, () => 0);
  budget.spend(step(1e9));
  expect(budget.isSpent).toBe(false);
  budget.spend(step(1, true));
  budget.spend(step(1));
  expect(budget.isSpent).toBe(true);
});
