/** Bounds on grammars, and that what is within them, or just beyond, costs bounded time. */
import { describe, expect, test } from "vitest";
import { ApiError } from "../../../../src/protocol/errors.ts";
import type { Constraint } from "../../../../src/protocol/generate.ts";
import * as bounds from "../../../../src/protocol/limits.ts";
import { GrammarCompiler } from "../../../../src/text/grammar/grammar-compiler.ts";
import { uniformSource } from "../../../support/random.ts";
import { caught } from "../../protocol/caught.ts";
import { JSON_WORDS, testVocabulary, tokensIn } from "./vocabulary.ts";

const limits: Record<keyof typeof bounds, number> = { ...bounds };
const vocabulary = testVocabulary(JSON_WORDS);
const compiler = new GrammarCompiler(vocabulary);
const compile = (constraint: Constraint) => compiler.compile(constraint, "p");
const schema = (one: unknown) => compile({ kind: "schema", schema: one });
const many = <T>(num: number, make: (i: number) => T): T[] => Array.from({ length: num }, (_, i) => make(i));
const nested = (num: number, wrap: (inner: unknown) => unknown, inner: unknown = {}) => {
  let out = inner;
  for (let i = 0; i < num; i++) out = wrap(out);
  return out;
};
const properties = (num: number) => Object.fromEntries(many(num, (i) => [`p${i}`, { type: "null" }]));

/** `accept(limit)` compiles, `accept(limit + 1)` is refused with the limit in the message. */
const CASES: [keyof typeof limits, (size: number) => unknown][] = [
  ["PATTERN_CHARS_MAX", (size) => compile({ kind: "regex", pattern: "a".repeat(size) })],
  ["PATTERN_DEPTH_MAX", (size) => compile({ kind: "regex", pattern: `${"(".repeat(size)}a${")".repeat(size)}` })],
  [
    "PATTERN_DEPTH_MAX",
    (size) => compile({ kind: "grammar", text: `root ::= ${"(".repeat(size)}"a"${")".repeat(size)}` }),
  ],
  ["GRAMMAR_CHARS_MAX", (size) => compile({ kind: "grammar", text: `root ::= "a"#`.padEnd(size, "x") })],
  ["ENUM_VALUES_MAX", (size) => compile({ kind: "choice", choices: many(size, String) })],
  ["ENUM_VALUES_MAX", (size) => schema({ enum: many(size, (i) => i) })],
  ["ENUM_CHARS_MAX", (size) => compile({ kind: "choice", choices: ["x".repeat(size)] })],
  ["SCHEMA_NODES_MAX", (size) => schema({ anyOf: many(size - 1, () => ({ type: "null" })) })],
  ["SCHEMA_DEPTH_MAX", (size) => schema(nested(size, (items) => ({ type: "array", items })))],
  ["SCHEMA_JSON_DEPTH_MAX", (size) => schema({ default: nested(size - 1, (inner) => [inner], 1) })],
  ["SCHEMA_NAME_CHARS_MAX", (size) => schema({ properties: { ["x".repeat(size)]: {} } })],
  ["SCHEMA_PROPERTIES_MAX", (size) => schema({ type: "object", properties: properties(size) })],
];

test.each(CASES)("%s bounds what is compiled", (name, accept) => {
  const limit = limits[name];
  accept(limit);
  const error = caught(() => accept(limit + 1));
  expect(error.status).toBe(400);
  expect(error.message).toContain(String(limit));
});

test("MULTIPLE_OF_MAX bounds remainders", () => {
  schema({ type: "integer", multipleOf: 199_000 });
  schema({ type: "integer", multipleOf: 1009, minimum: 0, maximum: 100_000 });
  expect(caught(() => schema({ type: "integer", multipleOf: 211 })).message).toContain(String(limits.MULTIPLE_OF_MAX));
});

test("GRAMMAR_NODES_MAX bounds the whole", () => {
  const text = many(2000, (i) => `r${i} ::= "${i}abc" r${(i + 1) % 2000}?`).join("\n");
  expect(caught(() => compile({ kind: "grammar", text: `root ::= r0\n${text}` })).message).toContain(
    String(limits.GRAMMAR_NODES_MAX),
  );
});

test("INTERSECTION_STATES_MAX bounds strings with pattern and length", () => {
  schema({ type: "string", pattern: "^[a-z ]*$", maxLength: 500 });
  const error = caught(() => schema({ type: "string", pattern: "^[a-z ]*$", maxLength: 50_000 }));
  expect(error).toMatchObject({ status: 400, param: "p" });
});

test("GRAMMAR_DEPTH_MAX bounds nesting, and what is open can be closed", () => {
  const cursor = compile({ kind: "grammar", text: 'root ::= "[" root "]" | "x"' }).begin();
  let numOpen = 0;
  while (cursor.accept(0x5b)) numOpen++;
  expect(numOpen).toBe(limits.GRAMMAR_DEPTH_MAX);
  expect(cursor.accept(0x78)).toBe(true);
  for (let i = 0; i < numOpen; i++) expect(cursor.accept(0x5d)).toBe(true);
  expect(cursor.isComplete).toBe(true);
});

describe("hostile input costs little", () => {
  const deep = nested(100_000, (inner) => [inner]);
  const doubling = {
    $ref: "#/$defs/d0",
    $defs: Object.fromEntries(
      many(60, (i) => [`d${i}`, { allOf: many(2, () => ({ $ref: `#/$defs/d${i + 1}` })) }] as const).concat([
        ["d60", { allOf: [] }],
      ]),
    ),
  };
  test.each<[string, Constraint]>([
    ["counts in counts", { kind: "regex", pattern: "(((a{1,1000}){1,1000}){1,1000}){1,1000}" }],
    ["counts of what may be empty", { kind: "regex", pattern: "((a?){0,5000}b?){0,5000}" }],
    ["stars in stars", { kind: "regex", pattern: `${"(".repeat(40)}a${"*)*".repeat(40).slice(0, 40 * 2)}` }],
    ["an ambiguous tail", { kind: "regex", pattern: "(a|b|ab)*(a|aa|aaa){500,100000}.{0,4000}" }],
    ["a huge count", { kind: "regex", pattern: "a{9007199254740991}" }],
    ["an ambiguous grammar", { kind: "grammar", text: 'root ::= "a" root root | "a" root | "a"' }],
    ["rules that begin with each other", { kind: "grammar", text: 'root ::= a "x"\na ::= b | "y"\nb ::= root?' }],
    ["rules that may be empty", { kind: "grammar", text: 'root ::= (a b)* "x"\na ::= "a"? b*\nb ::= ("b"?)*' }],
    [
      "a long chain",
      {
        kind: "grammar",
        text: `root ::= r0\n${many(900, (i) => `r${i} ::= "a"* r${i + 1}`).join("\n")}\nr900 ::= "b"`,
      },
    ],
    ["a deep schema", { kind: "schema", schema: deep }],
    ["doubling allOf", { kind: "schema", schema: doubling }],
    [
      "doubling anyOf",
      { kind: "schema", schema: { allOf: many(30, () => ({ anyOf: [{ minLength: 1 }, { maxLength: 9 }] })) } },
    ],
    [
      "growing recursion",
      {
        kind: "schema",
        schema: { allOf: [{ properties: { x: { $ref: "#" } } }, { properties: { x: { type: "object" } } }] },
      },
    ],
  ])("%s", (_, constraint) => {
    const started = performance.now();
    walk(constraint, uniformSource(1));
    expect(performance.now() - started).toBeLessThan(5000);
    expect(compiler.heldBytes).toBeLessThan(8_000_000);
  });

  test("noise is refused or compiled, and nothing else", () => {
    const uniform = uniformSource(5);
    const alphabet = Array.from('ab01"\\[](){}|*+?^$.,-:=# \n:éroot::=x{2,}');
    const noise = () =>
      many(Math.floor(uniform() * 24), () => alphabet[Math.floor(uniform() * alphabet.length)]).join("");
    for (let i = 0; i < 3000; i++) {
      walk({ kind: "regex", pattern: noise() }, uniform, 3);
      walk({ kind: "grammar", text: `root ::= ${noise()}` }, uniform, 3);
      walk({ kind: "schema", schema: noisySchema(uniform, 3) }, uniform, 3);
    }
  });
});

/** Compiles, and draws some tokens. Throws whatever is no refusal. */
function walk(constraint: Constraint, uniform: () => number, numTokens = 60): void {
  try {
    const cursor = compile(constraint).begin();
    for (let i = 0; i < numTokens; i++) {
      const ids = tokensIn(cursor.mask(), vocabulary.vocabSize);
      expect(cursor.accept(ids[Math.floor(uniform() * ids.length)]!)).toBe(true);
    }
  } catch (cause) {
    if (!(cause instanceof ApiError && cause.status === 400)) throw cause;
  }
}

const KEYWORDS = [
  ...[
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "items",
    "prefixItems",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "not",
  ],
  ...[
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "exclusiveMaximum",
    "multipleOf",
    "minItems",
    "maxItems",
  ],
  ...[
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "uniqueItems",
    "$defs",
    "__proto__",
  ],
];
const VALUES = [
  ...["object", "array", "string", "#", "#/$defs/a", "date", "a", "(", ""],
  0,
  1,
  -1,
  1.5,
  1e300,
  true,
  false,
  null,
];

function noisySchema(uniform: () => number, depth: number): unknown {
  const pick = <T>(options: readonly T[]): T => options[Math.floor(uniform() * options.length)]!;
  if (depth === 0 || uniform() < 0.3) return pick(VALUES);
  if (uniform() < 0.3) return many(Math.floor(uniform() * 3), () => noisySchema(uniform, depth - 1));
  return Object.fromEntries(many(Math.floor(uniform() * 4), () => [pick(KEYWORDS), noisySchema(uniform, depth - 1)]));
}
