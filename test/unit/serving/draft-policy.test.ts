import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  afterStep,
  CREDIT_INITIAL_STEPS,
  chooseNumDrafts,
  type DraftCosts,
  type DraftState,
  INITIAL_DRAFT_STATE,
  LOSS_SHARE_MAX,
  NUM_DRAFTS_MAX,
  tokenCost,
} from "../../../src/serving/draft-policy.ts";
import { normalSource } from "../../support/random.ts";

const ALONE: DraftCosts = { rowCost: 0.25, numSequences: 1 };

/** A step whose proposed tokens are right up to `numRightMax`. */
function step(state: DraftState, costs: DraftCosts, numRightMax: number, room = NUM_DRAFTS_MAX) {
  const numDrafted = chooseNumDrafts(state, costs, room);
  const numRight = Math.min(numRightMax, numDrafted + 1);
  const numAccepted = Math.min(numRight, numDrafted);
  const hasWrong = numRight <= numAccepted && numRight < numDrafted + 1;
  return {
    state: afterStep(state, costs, { numDrafted, numAccepted, numRight, hasWrong }),
    numDrafted,
    numTokens: 1 + numAccepted,
    costSteps: tokenCost(costs) + numDrafted * costs.rowCost,
  };
}

/** Time of `numTokens` tokens, as a share of what they take without drafts. */
function relativeTime(costs: DraftCosts, numTokens: number, numRightOf: (step: number) => number): number {
  let [state, done, time] = [INITIAL_DRAFT_STATE, 0, 0];
  for (let i = 0; done < numTokens; i++) {
    const after = step(state, costs, numRightOf(i));
    state = after.state;
    done += after.numTokens;
    time += after.costSteps;
  }
  return time / (done * tokenCost(costs));
}

describe("the number of drafts", () => {
  it("is 0 until a proposal was right, grows to the most while they are, and falls to 0 when they are not", () => {
    const counts: number[] = [];
    let state = INITIAL_DRAFT_STATE;
    for (let i = 0; i < 40; i++) {
      const after = step(state, ALONE, i < 20 ? 9 : 0);
      counts.push(after.numDrafted);
      state = after.state;
    }
    expect(counts[0]).toBe(0);
    expect(counts[19]).toBe(NUM_DRAFTS_MAX);
    const growing = counts.slice(0, 20);
    expect(growing).toEqual(growing.toSorted((a, b) => a - b));
    expect(growing.indexOf(NUM_DRAFTS_MAX)).toBeLessThan(12);
    const falling = counts.slice(20);
    expect(falling).toEqual(falling.toSorted((a, b) => b - a));
    expect(counts.at(-1)).toBe(0);
  });

  it("gives the most tokens for the time, of all that there is room and credit for", () => {
    fc.assert(
      fc.property(
        fc.record({ acceptance: fc.double({ min: 0, max: 1, noNaN: true }), creditSteps: fc.nat(4) }),
        fc.record({ rowCost: fc.double({ min: 0.01, max: 1.2, noNaN: true }), numSequences: fc.constantFrom(1, 2) }),
        fc.nat(NUM_DRAFTS_MAX),
        (state, costs, room) => {
          const value = (k: number) => {
            const expectedTokens = Array.from({ length: k + 1 }, (_, i) => state.acceptance ** i);
            const numTokens = expectedTokens.reduce((sum, one) => sum + one, 0);
            return numTokens / (tokenCost(costs) + k * costs.rowCost);
          };
          const k = chooseNumDrafts(state, costs, room);
          expect(k).toBeLessThanOrEqual(room);
          expect(k * costs.rowCost).toBeLessThanOrEqual(state.creditSteps);
          for (let other = 0; other <= room; other++) {
            if (other * costs.rowCost <= state.creditSteps) {
              expect(value(k)).toBeGreaterThanOrEqual(value(other) - 1e-12);
            }
          }
        },
      ),
      { seed: 11 },
    );
  });

  it("is 0 where a row costs as much as a step", () => {
    const sure = { acceptance: 1, creditSteps: 4 };
    expect(chooseNumDrafts(sure, { rowCost: 1, numSequences: 1 }, 8)).toBe(0);
    expect(chooseNumDrafts(sure, { rowCost: 0.9, numSequences: 1 }, 8)).toBeGreaterThan(0);
  });

  it("asks for more certainty with two sequences than with one", () => {
    const unsure = { acceptance: 0.35, creditSteps: 4 };
    expect(chooseNumDrafts(unsure, ALONE, 8)).toBeGreaterThan(0);
    expect(chooseNumDrafts(unsure, { ...ALONE, numSequences: 2 }, 8)).toBe(0);
  });
});

describe("the account", () => {
  it("bounds the loss of any text: 2 % and one step", () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat(9), { minLength: 1, maxLength: 400 }),
        fc.constantFrom(0.001, 0.1, 0.25, 0.5, 0.99),
        fc.constantFrom(1, 2),
        fc.constantFrom(1, 3, 8),
        (rights, rowCost, numSequences, room) => {
          const costs = { rowCost, numSequences };
          let [state, numTokens, time] = [INITIAL_DRAFT_STATE, 0, 0];
          for (const numRight of rights) {
            const after = step(state, costs, numRight, room);
            state = after.state;
            numTokens += after.numTokens;
            time += after.costSteps;
            expect(state.creditSteps).toBeGreaterThanOrEqual(-1e-9);
            const plain = numTokens * tokenCost(costs);
            expect(time).toBeLessThanOrEqual((1 + LOSS_SHARE_MAX) * plain + CREDIT_INITIAL_STEPS + 1e-9);
          }
        },
      ),
      { seed: 12, numRuns: 500 },
    );
  });

  it("keeps little of what long success has saved", () => {
    let state = INITIAL_DRAFT_STATE;
    for (let i = 0; i < 500; i++) state = step(state, ALONE, 9).state;
    expect(state.creditSteps).toBe(8);
  });

  it("stops a text that is right whenever it is watched and wrong whenever it is drafted", () => {
    let [state, numTokens, time] = [INITIAL_DRAFT_STATE, 0, 0];
    for (let i = 0; i < 5000; i++) {
      const isWatched = chooseNumDrafts(state, ALONE, 8) === 0;
      const after = step(state, ALONE, isWatched ? 1 : 0);
      state = after.state;
      numTokens += after.numTokens;
      time += after.costSteps;
    }
    expect(time / numTokens).toBeLessThan(1.021);
    // It would have lost more: the account is what stops it.
    expect(time / numTokens).toBeGreaterThan(1.01);
  });
});

describe("modelled time", () => {
  it("falls with every share of right drafts, and is never above that of plain decoding by more than 2 %", () => {
    const normal = normalSource(5);
    /** Uniform in [0, 1), by a normal's fraction: even enough for this. */
    const uniform = () => Math.abs(normal() * 1000) % 1;
    const times = [0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1].map((share) =>
      relativeTime(ALONE, 5000, () => {
        let numRight = 0;
        while (numRight < 9 && uniform() < share) numRight++;
        return numRight;
      }),
    );
    for (const time of times.slice(0, 4)) expect(time).toBeLessThan(1 + LOSS_SHARE_MAX);
    expect(times[0]).toBe(1);
    expect(times[4]).toBeLessThan(0.9);
    expect(times[5]).toBeLessThan(0.75);
    expect(times[6]).toBeLessThan(0.55);
    expect(times[7]).toBeLessThan(0.34);
  });
});
