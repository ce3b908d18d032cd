import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { StopMatcher } from "../../../src/text/stop-strings.ts";

function run(stops: string[], pieces: string[]): { texts: string[]; stop: string | null } {
  const matcher = new StopMatcher(stops);
  const matches = [...pieces.map((piece) => matcher.push(piece)), matcher.flush()];
  return { texts: matches.map(({ text }) => text), stop: matches.at(-1)!.stop };
}

/** Leftmost match; at one place the first alternative: what a regular expression does with the whole text. */
function reference(stops: string[], text: string): { text: string; stop: string | null } {
  const alternatives = stops.filter((stop) => stop !== "").map((stop) => stop.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&"));
  const match = alternatives.length === 0 ? null : new RegExp(alternatives.join("|"), "s").exec(text);
  return match === null ? { text, stop: null } : { text: text.slice(0, match.index), stop: match[0] };
}

describe("StopMatcher", () => {
  test("streamed equals whole, for any stops and cuts", () => {
    // Two letters make overlaps, repeats and near misses the rule.
    const word = fc.string({ unit: fc.constantFrom("a", "b", "."), maxLength: 5 });
    fc.assert(
      fc.property(fc.array(word, { maxLength: 4 }), fc.array(word, { maxLength: 12 }), (stops, pieces) => {
        const { texts, stop } = run(stops, pieces);
        expect({ text: texts.join(""), stop }).toEqual(reference(stops, pieces.join("")));
      }),
      { numRuns: 20_000 },
    );
  });

  test("holds back no more than the beginning of a stop string", () => {
    const word = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 5 });
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 3 }), fc.array(word, { maxLength: 8 }), (stops, pieces) => {
        const matcher = new StopMatcher(stops);
        let seen = "";
        let given = "";
        for (const piece of pieces) {
          seen += piece;
          const { text, stop } = matcher.push(piece);
          given += text;
          if (stop !== null) return;
          const held = seen.slice(given.length);
          expect(held === "" || stops.some((each) => each.length > held.length && each.startsWith(held))).toBe(true);
        }
      }),
      { numRuns: 5000 },
    );
  });

  test("gives text out as soon as it can be no stop string", () => {
    expect(run(["END"], ["say ", "E", "N", "joy", " EN"])).toEqual({
      texts: ["say ", "", "", "ENjoy", " ", "EN"],
      stop: null,
    });
  });

  test("a stop string across pieces is cut out with all that follows", () => {
    expect(run(["\n\nUser:"], ["Hi", "\n", "\nUs", "er: you", "more"])).toEqual({
      texts: ["Hi", "", "", "", "", ""],
      stop: "\n\nUser:",
    });
  });

  test("waits for an earlier match before it takes a later one", () => {
    expect(run(["abc", "b"], ["a", "b", "c"])).toEqual({ texts: ["", "", "", ""], stop: "abc" });
    expect(run(["abc", "b"], ["a", "b", "d"])).toEqual({ texts: ["", "", "a", ""], stop: "b" });
  });

  test("of two at one place the first in the list wins", () => {
    expect(run(["abc", "ab"], ["ab", "c"]).stop).toBe("abc");
    expect(run(["ab", "abc"], ["ab", "c"]).stop).toBe("ab");
    expect(run(["abc", "ab"], ["ab"]).stop).toBe("ab");
  });

  test("empty stop strings and no stop strings hold nothing back", () => {
    expect(run([""], ["a", "b"])).toEqual({ texts: ["a", "b", ""], stop: null });
    expect(run([], ["a", "b"])).toEqual({ texts: ["a", "b", ""], stop: null });
  });
});
