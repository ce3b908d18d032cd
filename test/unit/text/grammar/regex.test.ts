import { describe, expect, test } from "vitest";
import { compileConstraint } from "../../../../src/text/grammar/grammar-compiler.ts";
import { uniformSource } from "../../../support/random.ts";
import { caught } from "../../protocol/caught.ts";
import { testVocabulary } from "./vocabulary.ts";

const vocabulary = testVocabulary([]);
const encoder = new TextEncoder();

function matches(pattern: string, text: string): boolean {
  return accepts({ kind: "regex", pattern }, text);
}

function accepts(constraint: Parameters<typeof compileConstraint>[0], text: string): boolean {
  const cursor = compileConstraint(constraint, vocabulary, "regex").begin();
  return encoder.encode(text).every((byte) => cursor.accept(byte)) && cursor.isComplete;
}

/** All texts of up to `length` of these characters. */
function texts(characters: readonly string[], length: number): string[] {
  let last = [""];
  const all = [""];
  for (let i = 0; i < length; i++) {
    last = last.flatMap((text) => characters.map((character) => text + character));
    all.push(...last);
  }
  return all;
}

describe("patterns match what JavaScript's match", () => {
  test.each([
    ["a|bc", ["a", "bc"], ["", "ab", "abc", "c"]],
    ["^ab?c*$", ["a", "ab", "acc", "abccc"], ["b", "abb"]],
    ["(ab){2,3}", ["abab", "ababab"], ["ab", "abababab"]],
    ["x{3}", ["xxx"], ["xx", "xxxx"]],
    ["x{2,}y", ["xxy", "xxxxxy"], ["xy"]],
    ["[a-c]+[^a-c]", ["abz", "cé"], ["ab", "aba"]],
    ["[\\]\\-x]+", ["]-x"], ["a"]],
    ["\\d\\D\\w\\W\\s\\S", ["1a_- x"], ["11_- x"]],
    [".", ["a", "é", "😀"], ["\n", "", "ab"]],
    ["(?:a|(?<name>b))+?", ["ab", "b"], ["", "c"]],
    ["\\u0041\\x42\\u{1F600}\\ud83d\\ude00\\t", ["AB😀😀\t"], ["AB"]],
    ["\\.\\*\\/\\$", [".*/$"], ["a*/$"]],
    ["[\\w.]+@[a-z]{2}", ["a.b@de"], ["@de"]],
    ["a{,3}b{c}", ["b{c}", "aaab{c}"], ["aaaab{c}"]],
    ["", [""], ["a"]],
  ])("%s", (pattern, good, bad) => {
    for (const text of good) expect(matches(pattern, text), text).toBe(true);
    for (const text of bad) expect(matches(pattern, text), text).toBe(false);
  });

  test("random patterns, all texts", () => {
    const uniform = uniformSource(3);
    const pick = <T>(options: readonly T[]): T => options[Math.floor(uniform() * options.length)]!;
    const atom = (depth: number): string =>
      depth === 0 || uniform() < 0.5
        ? pick(["a", "b", "[ab]", "[^a]", ".", "é", "\\w", "\\W"])
        : `(?:${body(depth - 1)})`;
    const term = (depth: number) =>
      atom(depth) + pick(["", "", "", "*", "+", "?", "{2}", "{1,2}", "{0,4}", "{2,}", "*?"]);
    const body = (depth: number): string => {
      const branch = () => Array.from({ length: 1 + Math.floor(uniform() * 3) }, () => term(depth)).join("");
      return uniform() < 0.3 ? `${branch()}|${branch()}` : branch();
    };
    const all = texts(["a", "b", "é"], 5);
    for (let i = 0; i < 60; i++) {
      const pattern = body(2);
      const expected = new RegExp(`^(?:${pattern})$`, "u");
      const grammar = compileConstraint({ kind: "regex", pattern }, vocabulary, "regex");
      for (const text of all) {
        const cursor = grammar.begin();
        const isMatch = encoder.encode(text).every((byte) => cursor.accept(byte)) && cursor.isComplete;
        expect(isMatch, `${pattern} on '${text}'`).toBe(expected.test(text));
      }
    }
  });

  test.each(["b", "^b", "b$", "^a|b$", "^(a|b)+$", "a.b|^$", '["\\\\]', "\\n"])(
    "in a JSON string: %s is searched for",
    (pattern) => {
      const schema = { type: "string", pattern };
      for (const text of texts(["a", "b", '"', "\\", "\n"], 3)) {
        const isMatch = accepts({ kind: "schema", schema }, JSON.stringify(text));
        expect(isMatch, text).toBe(new RegExp(pattern, "u").test(text));
      }
    },
  );
});

describe("what is no regular expression is refused by name", () => {
  test.each([
    ["(?=a)b", "look-ahead"],
    ["(?!a)b", "look-ahead"],
    ["(?<=a)b", "look-behind"],
    ["(?<!a)b", "look-behind"],
    ["(a)\\1", "back reference"],
    ["(?<n>a)\\k<n>", "back reference"],
    ["\\bword\\b", "word boundary"],
    ["\\p{L}+", "Unicode property"],
    ["a(^b)", "anchor"],
    ["(a$)b", "anchor"],
    ["(?i)a", "group of an unknown kind"],
    ["(a", "no end"],
    ["a)", "no beginning"],
    ["[a", "no end"],
    ["*a", "nothing to repeat"],
    ["a**", "nothing to repeat"],
    ["a{3,2}", "out of order"],
    ["[z-a]", "out of order"],
    ["a\\", "backslash"],
    ["\\u12", "hex digits"],
    ["\\u{110000}", "no character"],
    [`a{${"9".repeat(30)}}`, "too large"],
  ])("%s", (pattern, reason) => {
    const error = caught(() => matches(pattern, ""));
    expect(error).toMatchObject({ status: 400, param: "regex" });
    expect(error.message).toContain(reason);
  });
});
