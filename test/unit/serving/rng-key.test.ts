import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { choiceKey, randomLanes, seedLanes } from "../../../src/serving/rng-key.ts";

describe("choice keys", () => {
  it("are u32 pairs that differ for different seeds and choices", () => {
    const keys = new Set<string>();
    for (const seed of [0, 1, 2, -1, -2, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1, -(2 ** 53) + 1]) {
      for (let choice = 0; choice < 128; choice++) {
        const key = choiceKey(seedLanes(seed), choice);
        for (const lane of key) expect(Number.isInteger(lane) && lane >= 0 && lane < 2 ** 32).toBe(true);
        keys.add(key.join());
      }
    }
    expect(keys.size).toBe(9 * 128);
  });

  it("take a seed apart into its two's complement", () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (seed) => {
        const [lo, hi] = seedLanes(seed);
        expect(BigInt.asIntN(64, (BigInt(hi) << 32n) | BigInt(lo))).toBe(BigInt(seed));
      }),
      { seed: 1, numRuns: 1000 },
    );
  });

  it("stay what they are: a seed's text must not change with a release", () => {
    expect([choiceKey([42, 0], 0), choiceKey([42, 0], 1), randomLanes(() => 0.5)]).toMatchInlineSnapshot(`
      [
        [
          1225219374,
          3125718644,
        ],
        [
          1949336705,
          373654139,
        ],
        [
          2147483648,
          2147483648,
        ],
      ]
    `);
  });
});
