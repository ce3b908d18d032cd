import { describe, expect, test } from "vitest";
import { compileConstraint } from "../../../../src/text/grammar/grammar-compiler.ts";
import { uniformSource } from "../../../support/random.ts";
import { caught } from "../../protocol/caught.ts";
import { testVocabulary } from "./vocabulary.ts";

const vocabulary = testVocabulary([]);
const encoder = new TextEncoder();

function accepts(text: string, input: string): boolean {
  const cursor = compileConstraint({ kind: "grammar", text }, vocabulary, "grammar").begin();
  return encoder.encode(input).every((byte) => cursor.accept(byte)) && cursor.isComplete;
}

describe("grammars match what they say", () => {
  test.each<[string, string, string[], string[]]>([
    ["literals and escapes", 'root ::= "a\\"\\n\\x41\\u00e9\\U0001F600"', ['a"\nAé😀'], ["a"]],
    ["alternatives on lines", 'root ::= "a"\n  | "b" # or\n  | "c"\n', ["a", "b", "c"], ["d", ""]],
    ["classes", "root ::= [a-c\\]x-]+ [^a-c\\n] .", ["ab]-zé"], ["zz", "abab"]],
    ["counts", 'root ::= "a"{2} "b"{1,} "c"{0,2} ("d" | "e")?', ["aab", "aabbcce"], ["ab", "aabccc"]],
    ["groups over lines", 'root ::= (\n "a"\n | "b"\n)*', ["", "abba"], ["c"]],
    ["recursion", 'root ::= "(" root* ")"', ["()", "(()(()))"], ["(", ")("]],
    ["rules before and after", 'x-1 ::= "x"\nroot ::= x-1 y\ny ::= x-1 "y"', ["xxy"], ["xy"]],
    ["an empty alternative", 'root ::= "a" ( | "b") end\nend ::= ""', ["a", "ab"], ["b"]],
    ["right recursion without end", 'root ::= ws "x"\nws ::= ([ \\t] ws)?', ["x", `${" ".repeat(2000)}x`], [" "]],
  ])("%s", (_, text, good, bad) => {
    for (const input of good) expect(accepts(text, input), input.slice(0, 50)).toBe(true);
    for (const input of bad) expect(accepts(text, input), input).toBe(false);
  });

  test("random grammars and all short texts, against a recognizer that tries everything", () => {
    const uniform = uniformSource(17);
    const inputs = [""];
    for (let at = 0; inputs[at]!.length < 6; at++) inputs.push(`${inputs[at]}a`, `${inputs[at]}b`);
    for (let i = 0; i < 60; i++) {
      const rules = randomRules(uniform);
      const text = rules
        .map((options, n) => `${n === 0 ? "root" : `r${n}`} ::= ${options.map(written).join(" | ")}`)
        .join("\n");
      const grammar = compileConstraint({ kind: "grammar", text }, vocabulary, "grammar");
      for (const input of inputs) {
        const cursor = grammar.begin();
        const isMatch = encoder.encode(input).every((byte) => cursor.accept(byte)) && cursor.isComplete;
        expect(isMatch, `${text}\non '${input}'`).toBe(ends(rules, 0, input, 0).has(input.length));
      }
    }
  });
});

/** A rule's alternatives: a letter (so that no rule begins with itself), then letters and rules. */
type Rules = (string | number)[][][];

function randomRules(uniform: () => number): Rules {
  const letter = () => (uniform() < 0.5 ? "a" : "b");
  const symbol = () => (uniform() < 0.5 ? letter() : Math.floor(uniform() * 3));
  const option = () => [letter(), ...Array.from({ length: Math.floor(uniform() * 3) }, symbol)];
  return Array.from({ length: 3 }, () => [[letter()], option(), ...(uniform() < 0.5 ? [option()] : [])]);
}

function written(option: readonly (string | number)[]): string {
  return option.map((one) => (typeof one === "string" ? `"${one}"` : one === 0 ? "root" : `r${one}`)).join(" ");
}

/** Where a text of the rule may end that begins at `from`. */
function ends(rules: Rules, rule: number, input: string, from: number): Set<number> {
  const all = new Set<number>();
  for (const option of rules[rule]!) {
    let places = new Set([from]);
    for (const symbol of option) {
      const next = [...places].flatMap((at) => {
        if (typeof symbol === "string") return input[at] === symbol ? [at + 1] : [];
        return at < input.length ? [...ends(rules, symbol, input, at)] : [];
      });
      places = new Set(next);
    }
    for (const place of places) all.add(place);
  }
  return all;
}

describe("what is no grammar is refused with its line", () => {
  test.each([
    ['root ::= "a', "no end", 1],
    ['root ::= ("a"', "no end", 1],
    ['a ::= "a"', "no rule 'root'", 1],
    ['root ::= "a"\nroot ::= "b"', "defined twice", 2],
    ["root ::= x\n", "'x' is used and not defined", 2],
    ['root ::= "a" }', "name is missing", 1],
    ["root = x", "'::=' is missing", 1],
    ['root ::= "\\q"', "no escape '\\q'", 1],
    ["root ::= [b-a]", "out of order", 1],
    ['root ::= "a"{3,2}', "out of order", 1],
    ['root ::= "a"{x}', "{m,n}", 1],
    ["", "no rule 'root'", 1],
  ])("%s", (text, reason, line) => {
    const error = caught(() => accepts(text, ""));
    expect(error).toMatchObject({ status: 400, param: "grammar" });
    expect(error.message).toContain(reason);
    expect(error.message).toContain(`line ${line}`);
  });

  test("a rule that begins with itself", () => {
    expect(caught(() => accepts('root ::= root "a" | "a"', "")).message).toContain("'root' begins with itself");
    expect(caught(() => accepts('root ::= x? root "a" | "a"\nx ::= "x"', "")).message).toContain("begins with itself");
  });
});
