/** Which origin gets a request: the same for the same key, in proportion to weight, and another where that one is busy. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Candidate, chooseOrigin } from "../../../src/edge/origins/balancer.ts";
import { InFlight } from "../../../src/edge/origins/in-flight.ts";

const origin = (name: string, numInFlight = 0, weight = 1): Candidate => ({ name, weight, numInFlight });
const KEYS = Array.from({ length: 4000 }, (_, i) => `key:${i}`);

function shares(candidates: Candidate[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const key of KEYS) {
    const { name } = chooseOrigin(candidates, key);
    counts[name] = (counts[name] ?? 0) + 1 / KEYS.length;
  }
  return counts;
}

test("keys spread evenly, and by weight", () => {
  for (const share of Object.values(shares([origin("a"), origin("b"), origin("c")])))
    expect(share).toBeCloseTo(1 / 3, 1);
  const { a, b } = shares([origin("a", 0, 3), origin("b", 0, 1)]);
  expect(a).toBeCloseTo(0.75, 1);
  expect(b).toBeCloseTo(0.25, 1);
});

test("an origin that leaves moves only its own keys", () => {
  const all = [origin("a"), origin("b"), origin("c")];
  for (const key of KEYS) {
    const before = chooseOrigin(all, key).name;
    const after = chooseOrigin(all.slice(0, 2), key).name;
    if (before !== "c") expect(after).toBe(before);
  }
});

test("a key leaves its origin only for one that is clearly less busy", () => {
  const key = KEYS.find((one) => chooseOrigin([origin("a"), origin("b")], one).name === "a")!;
  const chosen = (inA: number, inB: number, weightA = 1) =>
    chooseOrigin([origin("a", inA, weightA), origin("b", inB)], key).name;
  expect([chosen(4, 0), chosen(5, 0)]).toEqual(["a", "b"]);
  expect([chosen(16, 10), chosen(17, 10)]).toEqual(["a", "b"]);
  // Twice the weight carries twice the load.
  expect([chosen(8, 0, 2), chosen(9, 0, 2)]).toEqual(["a", "b"]);
});

test("nobody is ever much busier than the least busy", () => {
  const names = fc.uniqueArray(fc.constantFrom<string>("a", "b", "c", "d"), { minLength: 1 });
  fc.assert(
    fc.property(names, fc.array(fc.nat(20), { maxLength: 120 }), (list, keys) => {
      const inFlight = new Map<string, number>(list.map((name) => [name, 0]));
      for (const key of keys) {
        const candidates = list.map((name) => origin(name, inFlight.get(name)));
        const { name } = chooseOrigin(candidates, `key:${key}`);
        inFlight.set(name, inFlight.get(name)! + 1);
      }
      const least = Math.min(...inFlight.values());
      expect(Math.max(...inFlight.values())).toBeLessThanOrEqual(1.25 * least + 5);
    }),
  );
});

test("a place in flight is left once, and is nobody's when it was not used for long", () => {
  let nowMs = 0;
  const inFlight = new InFlight(() => nowMs);
  const [one, two] = [inFlight.take(), inFlight.take()];
  expect(inFlight.count).toBe(2);
  one.leave();
  one.leave();
  one.use();
  expect(inFlight.count).toBe(1);
  nowMs += 700_000;
  expect(inFlight.count).toBe(0);
  // A reader that was slow, after all.
  two.use();
  expect(inFlight.count).toBe(1);
});
