import { describe, expect, test } from "vitest";
import { fromConstraint } from "../../../../src/text/grammar/constraint.ts";
import {
  choice,
  type Expression,
  freeUntil,
  freeWithout,
  literal,
  repeat,
  sequence,
  token,
} from "../../../../src/text/grammar/expression.ts";
import { compileParts, GrammarCompiler } from "../../../../src/text/grammar/grammar-compiler.ts";
import type { GrammarCursor } from "../../../../src/text/grammar/token-grammar.ts";
import { testVocabulary, tokensIn } from "./vocabulary.ts";

const CALL_TEXT = "<call>";
const vocabulary = testVocabulary([CALL_TEXT, '{"', "a<c", "all>{", "llo"]);
const CALL_TOKEN = vocabulary.controlId;
const encoder = new TextEncoder();

/** Texts byte by byte, numbers as tokens. @returns null where it was refused */
function run(expression: Expression, ...pieces: (string | number)[]): GrammarCursor | null {
  const cursor = compileParts(expression, vocabulary, "tools").begin();
  const ids = pieces.flatMap((piece) => (typeof piece === "number" ? [piece] : [...encoder.encode(piece)]));
  return ids.every((id) => cursor.accept(id)) ? cursor : null;
}

const has = (cursor: GrammarCursor, id: number) => tokensIn(cursor.mask(), vocabulary.vocabSize).includes(id);

const ARGUMENTS = fromConstraint(
  { kind: "schema", schema: { type: "object", properties: { x: { type: "integer" } }, required: ["x"] } },
  "tools.0",
);
const CALL = sequence(literal('{"name": "f", "arguments": '), ARGUMENTS, literal("}"));

describe("a tool call between its markers", () => {
  const forced = repeat(sequence(token(CALL_TOKEN), CALL, literal("\n")), 1, 3);

  test("demands the control token, then the text", () => {
    const cursor = compileParts(forced, vocabulary, "tools").begin();
    expect(tokensIn(cursor.mask(), vocabulary.vocabSize)).toEqual([CALL_TOKEN]);
    expect(run(forced, CALL_TOKEN, '{"name": "f", "arguments": {"x":5}}\n')?.isComplete).toBe(true);
    expect(run(forced, '{"name"')).toBeNull();
  });

  test("one to three of them", () => {
    const one = [CALL_TOKEN, '{"name": "f", "arguments": {"x":5}}\n'];
    expect(has(run(forced, ...one)!, vocabulary.endId)).toBe(true);
    const all = run(forced, ...one, ...one, ...one)!;
    expect(tokensIn(all.mask(), vocabulary.vocabSize)).toEqual([vocabulary.endId]);
    expect(run(forced, ...one, ...one, ...one, CALL_TOKEN)).toBeNull();
  });

  test("a control token's text is not the token", () => {
    expect(run(sequence(literal(CALL_TEXT), CALL), CALL_TOKEN)).toBeNull();
    expect(run(sequence(literal(CALL_TEXT), CALL), 258)).not.toBeNull();
  });

  test("the end may be demanded inside a text", () => {
    const cursor = run(sequence(literal("a"), token(vocabulary.endId), literal("b")), "a", vocabulary.endId)!;
    expect(cursor.isComplete).toBe(false);
    expect(cursor.accept(0x62)).toBe(true);
  });
});

describe("free text until a trigger", () => {
  const byText = sequence(repeat(sequence(freeUntil([CALL_TEXT]), CALL), 0, null), freeWithout([CALL_TEXT]));
  const byToken = sequence(repeat(sequence(freeUntil([CALL_TOKEN]), CALL), 0, null), freeWithout([CALL_TOKEN]));
  const call = '{"name": "f", "arguments": {"x":5}}';

  test("anything may come, and it may end anywhere", () => {
    for (const auto of [byText, byToken]) {
      const cursor = run(auto, "Hello <cal and <<call é")!;
      expect(cursor.isComplete).toBe(true);
      const ids = tokensIn(cursor.mask(), vocabulary.vocabSize);
      expect(ids.length).toBeGreaterThan(255);
    }
  });

  test("from the trigger on only a call may come, then free text again", () => {
    for (const [auto, trigger] of [
      [byText, CALL_TEXT],
      [byToken, CALL_TOKEN],
    ] as const) {
      const cursor = run(auto, "Hi ", trigger)!;
      expect(cursor.isComplete).toBe(false);
      expect(tokensIn(cursor.mask(), vocabulary.vocabSize)).toEqual([0x7b, 259]);
      expect(run(auto, "Hi ", trigger, call, "\nand ", trigger, call, " bye")?.isComplete).toBe(true);
      expect(run(auto, "Hi ", trigger, "no")).toBeNull();
    }
  });

  test("a token that begins the trigger and one that goes beyond it", () => {
    const [begins, beyond, strays] = [260, 261, 262];
    expect(has(run(byText, "x")!, begins)).toBe(true);
    const inside = run(byText, begins)!;
    expect(has(inside, beyond)).toBe(true);
    expect(inside.accept(beyond)).toBe(true);
    expect(tokensIn(inside.mask(), vocabulary.vocabSize)).toEqual([0x22]);
    expect(has(run(byText, "x")!, strays)).toBe(true);
  });

  test("control tokens come only where they are listed", () => {
    expect(run(freeWithout(["x"]), CALL_TOKEN)).toBeNull();
    expect(run(freeWithout(["x"], { tokens: [CALL_TOKEN] }), "a", CALL_TOKEN, "b")?.isComplete).toBe(true);
    expect(run(freeUntil(["ab", "b"]), "aab")?.isComplete).toBe(true);
  });
});

describe("cursors", () => {
  test("go their own ways, and only the end follows the end", () => {
    const grammar = compileParts(choice(literal("ab"), literal("ac")), vocabulary, "p");
    const cursor = grammar.begin();
    expect(cursor.accept(0x61)).toBe(true);
    const copy = cursor.clone();
    const mask = cursor.mask();
    expect(copy.accept(0x62)).toBe(true);
    expect(cursor.mask()).toBe(mask);
    expect(cursor.accept(0x78)).toBe(false);
    expect(cursor.accept(-1)).toBe(false);
    expect(cursor.accept(1_000_000)).toBe(false);
    expect(cursor.accept(0x63)).toBe(true);
    expect([cursor.isComplete, grammar.begin().isComplete]).toEqual([true, false]);
    expect(cursor.accept(vocabulary.endId)).toBe(true);
    expect(tokensIn(cursor.mask(), vocabulary.vocabSize)).toEqual([vocabulary.endId]);
    expect(cursor.accept(0x61)).toBe(false);
  });

  test("the same constraint again is the same grammar", () => {
    const compiler = new GrammarCompiler(vocabulary);
    const schema = () => ({ type: "object", properties: { a: { type: "integer" } } });
    const first = compiler.compile({ kind: "schema", schema: schema() }, "p");
    expect(compiler.compile({ kind: "schema", schema: schema() }, "p")).toBe(first);
    for (let i = 0; i < 40; i++) compiler.compile({ kind: "regex", pattern: `a{${i}}` }, "p");
    expect(compiler.compile({ kind: "schema", schema: schema() }, "p")).not.toBe(first);
  });
});
