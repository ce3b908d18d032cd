import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { Choice } from "../../../src/serving/choice.ts";
import { ByteTokenizer, END_ID } from "./byte-tokenizer.ts";

type Delta = Extract<GenerateEvent, { type: "delta" }>;
type Finish = Extract<GenerateEvent, { type: "finish" }>;

// "é" and "€" in pieces, a byte that is never valid, and texts that overlap in many ways.
const tokenizer = new ByteTokenizer(["a", "b", "ab", "ba", " ", [0xc3], [0xa9], [0xe2, 0x82], [0xac], [0xff], "€"]);
const [A, B, AB, , , C3, A9, E282, AC] = Array.from({ length: 11 }, (_, i) => i + 4);

interface Settings {
  stopStrings?: string[];
  stopTokenIds?: number[];
  ignoreEos?: boolean;
  numLogprobs?: number | null;
}

/** Pushes ids until the choice wants no more, as the scheduler does. */
function generate(ids: readonly number[], settings: Settings = {}) {
  const events: GenerateEvent[] = [];
  const choice = new Choice({
    index: 3,
    tokenizer,
    stopStrings: settings.stopStrings ?? [],
    stopTokenIds: new Set(settings.stopTokenIds ?? []),
    ignoreEos: settings.ignoreEos ?? false,
    numLogprobs: settings.numLogprobs ?? null,
    emit: (event) => events.push(event),
  });
  const isStopped = ids.some((token) => choice.push({ token, logprob: -token, top: [], logits: null }));
  choice.finish(isStopped ? "stop" : "length");
  const deltas = events.filter((event): event is Delta => event.type === "delta");
  return { choice, deltas, finish: events.at(-1) as Finish, text: deltas.map(({ text }) => text).join("") };
}

/** The same on the whole text at once: the first place at which any stop string begins. */
function cutWhole(ids: readonly number[], stopStrings: readonly string[]): { text: string; stop: string | null } {
  const end = ids.indexOf(END_ID);
  const whole = tokenizer.decode(end < 0 ? ids : ids.slice(0, end));
  for (let at = 0; at < whole.length; at++) {
    const stop = stopStrings.find((one) => whole.startsWith(one, at));
    if (stop !== undefined) return { text: whole.slice(0, at), stop };
  }
  return { text: whole, stop: null };
}

describe("the text of a choice", () => {
  it("comes in whole characters, each with all of its tokens", () => {
    const { deltas } = generate([A!, C3!, A9!, E282!, AC!, B!]);
    expect(deltas.map(({ text, tokenIds }) => [text, tokenIds])).toEqual([
      ["a", [A]],
      ["é", [C3, A9]],
      ["€", [E282, AC]],
      ["b", [B]],
    ]);
  });

  it("shows bytes that never became a character at the end", () => {
    const { deltas, finish } = generate([A!, C3!]);
    expect(deltas.at(-1)).toMatchObject({ text: "\ufffd", tokenIds: [C3] });
    expect(finish).toEqual({ type: "finish", index: 3, reason: "length", stop: null });
  });

  it("leaves out the end token, a stop string, and the tokens that are only stop string", () => {
    expect(generate([A!, END_ID, B!])).toMatchObject({ text: "a", finish: { reason: "stop", stop: null } });
    const { deltas, finish, choice } = generate([B!, A!, AB!, A!], { stopStrings: ["ab"] });
    // The second token is held as a possible beginning, and given out when the third makes it "aab".
    expect(deltas.map(({ text, tokenIds }) => [text, tokenIds])).toEqual([
      ["b", [B]],
      ["a", [A]],
    ]);
    expect([finish.reason, finish.stop, choice.numTokens]).toEqual(["stop", "ab", 3]);
  });

  it("gives out a held beginning of a stop string when it comes to nothing", () => {
    const { deltas } = generate([A!, END_ID], { stopStrings: ["ab"] });
    expect(deltas).toMatchObject([{ text: "a", tokenIds: [A] }]);
  });

  it("ends at a stop token and names it", () => {
    const { text, finish } = generate([A!, B!, A!], { stopTokenIds: [B!] });
    expect([text, finish.reason, finish.stop]).toEqual(["a", "stop", B]);
  });

  it("goes on after an end token where asked to, and shows nothing for it", () => {
    const { text, finish, deltas } = generate([A!, END_ID, B!, END_ID], { ignoreEos: true });
    expect([text, finish.reason]).toEqual(["ab", "length"]);
    expect(deltas.flatMap(({ tokenIds }) => tokenIds)).toEqual([A, END_ID, B, END_ID]);
  });

  it("carries a logprob for each token that it shows, with exact bytes", () => {
    const { deltas } = generate([A!, C3!, A9!], { numLogprobs: 0 });
    expect(deltas[1]!.tokens).toEqual([
      { id: C3, text: "\ufffd", bytes: [0xc3], logprob: -C3!, top: [] },
      { id: A9, text: "\ufffd", bytes: [0xa9], logprob: -A9!, top: [] },
    ]);
  });

  it("is the same streamed as cut from the whole, for any tokens and stop strings", () => {
    const stop = fc.constantFrom("a", "ab", "aab", "ba b", "é", "b€", "\ufffd", "abba", " ");
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: tokenizer.vocabSize - 1 }), { maxLength: 25 }),
        fc.array(stop, { maxLength: 3 }),
        (ids, stopStrings) => {
          const { text, finish, deltas, choice } = generate(ids, { stopStrings, numLogprobs: 0 });
          const wanted = cutWhole(ids, stopStrings);
          expect([text, finish.stop]).toEqual([wanted.text, wanted.stop]);
          expect(choice.text).toBe(text);
          expect(finish.reason).toBe(wanted.stop !== null || ids.includes(END_ID) ? "stop" : "length");
          // Tokens come in order, each once, and all of them unless a stop string took some away.
          const shown = deltas.flatMap(({ tokenIds }) => tokenIds);
          const end = ids.indexOf(END_ID);
          const known = end < 0 ? ids : ids.slice(0, end);
          expect(shown).toEqual(known.slice(0, shown.length));
          if (wanted.stop === null) expect(shown.length).toBe(known.length);
          expect(tokenizer.decode(shown).startsWith(text)).toBe(true);
          for (const { tokens, tokenIds } of deltas) expect(tokens!.map(({ id }) => id)).toEqual(tokenIds);
        },
      ),
      { seed: 7, numRuns: 5000 },
    );
  });
});
