/** What a reader has of an answer is passed over in its next life, whatever comes between. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { KnownEvents } from "../../../src/origin/known-events.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";

const start: GenerateEvent = { type: "start", model: "tiny", promptTokens: 3, cachedTokens: 0 };
const done: GenerateEvent = {
  type: "done",
  usage: { promptTokens: 3, completionTokens: 3, cachedTokens: 0 },
  timings: { queueMs: 0, ttftMs: 0, totalMs: 0 },
};
const finish = (index: number): GenerateEvent => ({ type: "finish", index, reason: "length", stop: null });
const delta = (index: number, ...tokenIds: number[]): GenerateEvent => {
  return { type: "delta", index, text: tokenIds.join(), tokenIds, tokens: null };
};

/** One answer's events of each choice, woven together in an order that `picks` decides. */
function woven(choices: readonly (readonly GenerateEvent[])[], picks: readonly number[]): GenerateEvent[] {
  const left = choices.map((events) => [...events]);
  const order = picks.flatMap((pick) => left[pick % left.length]!.splice(0, 1));
  return [start, ...order, ...left.flat(), done];
}

test("lives that are cut anywhere give each event of each choice once", () => {
  const ids = fc.array(fc.array(fc.nat(9), { minLength: 1, maxLength: 3 }), { maxLength: 6 });
  const picks = fc.array(fc.nat(), { maxLength: 30 });
  fc.assert(
    fc.property(
      fc.array(ids, { minLength: 1, maxLength: 4 }),
      fc.array(fc.record({ picks, cut: fc.nat(40) }), { maxLength: 4 }),
      picks,
      (tokens, lives, last) => {
        const choices = tokens.map((deltas, i) => [...deltas.map((one) => delta(i, ...one)), finish(i)]);
        const known = new KnownEvents();
        const given: GenerateEvent[] = [];
        for (const { picks, cut } of [...lives, { picks: last, cut: Number.POSITIVE_INFINITY }]) {
          known.beginAgain();
          const life = woven(choices, picks);
          for (const event of life.slice(0, Math.min(cut, life.length - 1))) {
            const novelty = known.take(event);
            expect(novelty).not.toBe("differs");
            if (novelty === "new") given.push(event);
          }
        }
        expect(given.filter(({ type }) => type === "start")).toEqual([start]);
        for (const [i, events] of choices.entries()) {
          expect(given.filter((event) => "index" in event && event.index === i)).toEqual(events);
        }
      },
    ),
  );
});

test("an answer may begin with all of its tokens but the last", () => {
  const known = new KnownEvents();
  for (const event of [start, delta(0, 7), delta(0, 8, 9)]) expect(known.take(event)).toBe("new");
  expect(known.generatedTokens(0)).toEqual([7, 8]);
  expect(known.generatedTokens(1)).toEqual([]);
});

test.each<[string, GenerateEvent[]]>([
  ["other tokens", [start, delta(0, 7), delta(0, 8, 5)]],
  ["other tokens in other pieces", [start, delta(0, 7, 8), delta(0, 9, 2)]],
  ["an end", [start, delta(0, 7), finish(0)]],
])("%s where others are known differ", (_, life) => {
  const known = new KnownEvents();
  for (const event of [start, delta(0, 7), delta(0, 8, 9), delta(0, 1)]) known.take(event);
  known.beginAgain();
  const novelties = life.map((event) => known.take(event));
  expect([novelties[0], novelties.at(-1)]).toEqual(["known", "differs"]);
});
