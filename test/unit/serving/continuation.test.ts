/** An answer that goes on from its first tokens, in another engine: nobody can tell it from one that was never cut. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { TurnLog } from "../../../src/edge/turn-log.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { GREEDY } from "./hash-model.ts";
import { readAll, request, world } from "./world.ts";

const cases = fc.record({
  temperature: fc.constantFrom(0, 1),
  seed: fc.integer(),
  frequencyPenalty: fc.constantFrom(0, 0.7),
  maxTokens: fc.integer({ min: 1, max: 40 }),
  ignoreEos: fc.boolean(),
  // Of one and two letters: text is often held back, and given out in another event than its token's own.
  stopStrings: fc.uniqueArray(fc.constantFrom("a", "bb", "e e", "é", "aé", "xx"), { maxLength: 3 }),
  logprobs: fc.constantFrom(null, 2),
  prompt: fc.stringMatching(/^[a-z ]{1,30}$/),
});

function withoutTimes(event: GenerateEvent): unknown {
  if (event.type === "start") return { ...event, cachedTokens: 0 };
  return event.type === "done" ? event.usage.completionTokens : event;
}

test("its events are the same, after whichever of them it was cut", () => {
  fc.assert(
    fc.property(cases, ({ temperature, seed, frequencyPenalty, prompt, ...rest }) => {
      const asked = request({
        ...rest,
        prompts: [{ kind: "text", text: prompt }],
        sampling: { ...GREEDY, temperature, seed, frequencyPenalty },
      });
      const whole = readAll(world().model.generate(asked));
      for (let numKnown = 0; numKnown <= whole.length; numKnown++) {
        const generatedTokens = new TurnLog(whole.slice(0, numKnown)).generatedTokens();
        const again = readAll(world().model.generate(asked, { generatedTokens }));
        expect(again).toHaveLength(whole.length);
        expect(again.slice(numKnown).map(withoutTimes)).toEqual(whole.slice(numKnown).map(withoutTimes));
      }
    }),
    { numRuns: 300 },
  );
});

test("a prefix that leaves nothing to draw is refused", () => {
  const { model } = world();
  expect(() => model.generate(request({ maxTokens: 2 }), { generatedTokens: [5, 6] })).toThrow("cannot go on after 2");
});
