import { describe, expect, test } from "vitest";
import { compileConstraint } from "../../../../src/text/grammar/grammar-compiler.ts";
import { caught } from "../../protocol/caught.ts";
import { testVocabulary } from "./vocabulary.ts";

const vocabulary = testVocabulary([]);
const encoder = new TextEncoder();

function accepts(schema: unknown, text: string): boolean {
  const cursor = compileConstraint({ kind: "schema", schema }, vocabulary, "schema").begin();
  return encoder.encode(text).every((byte) => cursor.accept(byte)) && cursor.isComplete;
}

const PERSON = {
  type: "object",
  properties: { name: { type: "string" }, age: { type: "integer" } },
  required: ["name"],
};

const TREE = {
  $ref: "#/$defs/node",
  $defs: {
    node: {
      type: "object",
      properties: { value: { type: "integer" }, children: { type: "array", items: { $ref: "#/$defs/node" } } },
      required: ["value", "children"],
      additionalProperties: false,
    },
  },
};

/** As zod 4 writes them. */
const ZOD_EMAIL = {
  type: "string",
  format: "email",
  pattern: "^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$",
};
const ZOD_RECORD = {
  type: "object",
  propertyNames: { type: "string" },
  additionalProperties: { type: "number" },
};
const ZOD_ENUM_RECORD = {
  type: "object",
  propertyNames: { type: "string", enum: ["a", "b"] },
  additionalProperties: { type: "null" },
  required: ["a", "b"],
};

describe("texts that a schema describes", () => {
  test.each<[string, unknown, string[], string[]]>([
    [
      "properties in order",
      PERSON,
      ['{"name":"x"}', '{"name": "x", "age": 3}'],
      ["{}", '{"age":3,"name":"x"}', '{"name":"x","b":1}'],
    ],
    [
      "one blank at most",
      PERSON,
      ['{"name": "x"}'],
      ['{ "name":"x"}', '{"name":  "x"}', '{"name":"x" }', '{"name":"x"}\n'],
    ],
    [
      "any value",
      {},
      ['{"a":[1,{"b":null}]}', "-0.5e+10", '"\\u00e9\\ud83d\\ude00"', "[]"],
      ["01", "[1,]", '"\\ud83d"', "nul", "NaN"],
    ],
    ["true", true, ["1"], [""]],
    ["enum", { enum: ["a", 1, null, [1, { k: "v" }]] }, ['"a"', "1", "null", '[1,{"k":"v"}]'], ['"b"', "2"]],
    ["enum within a type", { type: "string", enum: ["a", 1] }, ['"a"'], ["1"]],
    ["const", { const: "x" }, ['"x"'], ['"y"']],
    ["several types", { type: ["integer", "null"] }, ["12", "null"], ["1.5", '"1"']],
    [
      "tree",
      TREE,
      ['{"value":1,"children":[{"value":2,"children":[]}]}'],
      ['{"value":1}', '{"value":1,"children":[1]}'],
    ],
    ["the root in itself", { type: "array", items: { $ref: "#" } }, ["[]", "[[],[[]]]"], ["[1]"]],
    [
      "others by schema",
      { ...PERSON, additionalProperties: { type: "null" } },
      ['{"name":"x","n":null}'],
      ['{"name":"x","name":null}', '{"name":"x","age":null}'],
    ],
    [
      "a name in disguise",
      { ...PERSON, additionalProperties: true },
      ['{"name":"x","nam":1}'],
      ['{"name":"x","\\u006eame":1}'],
    ],
    [
      "only required",
      { type: "object", required: ["a"], additionalProperties: { type: "integer" } },
      ['{"a":1}', '{"a":1,"b":2}'],
      ["{}", '{"a":"x"}'],
    ],
    ["zod's record", ZOD_RECORD, ["{}", '{"x":1.5}'], ['{"x":"y"}']],
    [
      "zod's record of an enum",
      ZOD_ENUM_RECORD,
      ['{"a":null,"b":null}'],
      ['{"a":null}', '{"a":null,"b":null,"c":null}'],
    ],
    ["zod's email", ZOD_EMAIL, ['"ada.l@example.com"'], ['"ada..l@example.com"', '".a@b.de"', '"a@b"']],
    ["zod's never", { anyOf: [{ not: {} }, { type: "null" }] }, ["null"], ["1"]],
    [
      "pattern and length",
      { type: "string", pattern: "^a+$", minLength: 2, maxLength: 3 },
      ['"aa"', '"aaa"'],
      ['"a"', '"aaaa"'],
    ],
    ["format and length", { type: "string", format: "hostname", maxLength: 4 }, ['"a.de"'], ['"aa.de"']],
    [
      "length in characters",
      { type: "string", minLength: 2, maxLength: 2 },
      ['"😀é"', '"\\ud83d\\ude00\\n"'],
      ['"😀"', '"abc"'],
    ],
    [
      "tuple",
      { prefixItems: [{ type: "integer" }, { type: "string" }], items: false, minItems: 1 },
      ["[1]", '[1,"a"]'],
      ["[]", '[1,"a",2]', '["a"]'],
    ],
    [
      "draft-07's tuple",
      { type: "array", items: [{ type: "integer" }], additionalItems: { type: "null" } },
      ["[1,null]", "[]"],
      ["[null]"],
    ],
    [
      "counted items",
      { type: "array", items: { type: "integer" }, minItems: 2, maxItems: 3 },
      ["[1,2]", "[1, 2, 3]"],
      ["[1]", "[1,2,3,4]"],
    ],
    [
      "merged",
      { allOf: [PERSON, { properties: { b: { type: "null" } }, required: ["b"] }] },
      ['{"name":"x","b":null}'],
      ['{"name":"x"}'],
    ],
    [
      "a reference and more",
      { $ref: "#/$defs/i", minimum: 5, $defs: { i: { type: "integer", maximum: 9 } } },
      ["5", "9"],
      ["4", "10"],
    ],
    ["beside anyOf", { type: "string", anyOf: [{ maxLength: 1 }, { minLength: 3 }] }, ['"a"', '"abc"'], ['"ab"', "1"]],
    [
      "OpenAPI's words",
      { type: "string", nullable: true, discriminator: { propertyName: "a" }, "x-note": 1 },
      ['"a"'],
      ["null"],
    ],
    ["a count beyond all texts", { type: "string", maxLength: 2147483647 }, ['"abc"'], []],
  ])("%s", (_, schema, good, bad) => {
    for (const text of good) expect(accepts(schema, text), text).toBe(true);
    for (const text of bad) expect(accepts(schema, text), text).toBe(false);
  });

  test.each<[Record<string, unknown>, number[]]>([
    [{ minimum: -12, maximum: 105 }, [-13, -12, -9, 0, 9, 10, 99, 100, 105, 106, 1000]],
    [{ exclusiveMinimum: 0, exclusiveMaximum: 10 }, [-1, 0, 1, 9, 10]],
    [{ minimum: 95, maximum: 1203 }, [94, 95, 99, 100, 999, 1000, 1203, 1204, 2000]],
    [{ multipleOf: 7, minimum: -70 }, [-77, -70, -7, 0, 1, 7, 700, 7_000_000_007]],
    [{ multipleOf: 1500 }, [0, 1500, -3000, 1000, 15, 4_500_000]],
    [{ minimum: 0.5, maximum: 2.5 }, [0, 1, 2, 3]],
    [{ minimum: 1e15 }, [999_999_999_999_999, 1e15, 9_007_199_254_740_991]],
  ])("integers with %j", (bounds, numbers) => {
    for (const value of numbers) {
      const isOver =
        value < ((bounds.minimum as number) ?? -Infinity) || value > ((bounds.maximum as number) ?? Infinity);
      const isAt =
        value <= ((bounds.exclusiveMinimum as number) ?? -Infinity) ||
        value >= ((bounds.exclusiveMaximum as number) ?? Infinity);
      const isMultiple = value % ((bounds.multipleOf as number) ?? 1) === 0;
      expect(accepts({ type: "integer", ...bounds }, String(value)), String(value)).toBe(
        !isOver && !isAt && isMultiple,
      );
    }
  });

  test("numbers with bounds are exact in their last digit", () => {
    const schema = { type: "number", minimum: -0.25, exclusiveMaximum: 10.5 };
    for (const text of ["-0.25", "-0.2", "0", "0.0", "10", "10.49999", "9.99", "3"])
      expect(accepts(schema, text), text).toBe(true);
    for (const text of ["-0.26", "-0.2500001", "-1", "10.5", "10.50", "11", "1e0", "-0"])
      expect(accepts(schema, text), text).toBe(false);
  });
});

describe("what cannot be enforced is refused with its path", () => {
  const inProperty = (schema: unknown) => ({ type: "object", properties: { a: schema } });
  test.each<[string, unknown, string]>([
    ["not", inProperty({ not: { type: "string" } }), "schema.properties.a.not"],
    ["if", inProperty({ if: {}, else: {} }), "schema.properties.a.if"],
    ["dependentRequired", { type: "object", dependentRequired: {} }, "schema.dependentRequired"],
    ["contains", { type: "array", items: { contains: {} } }, "schema.items.contains"],
    ["uniqueItems", { type: "array", uniqueItems: true }, "schema.uniqueItems"],
    ["a fraction to be a multiple of", { type: "number", multipleOf: 0.01 }, "schema.multipleOf"],
    ["a reference elsewhere", { anyOf: [{ $ref: "https://x.y/z" }] }, "schema.anyOf.0.$ref"],
    ["a reference to nothing", { $ref: "#/$defs/none" }, "schema.$ref"],
    ["look-ahead", inProperty({ type: "string", pattern: "(?=a)" }), "schema.properties.a.pattern"],
    ["a format", inProperty({ type: "string", format: "regex" }), "schema.properties.a.format"],
    ["overlapping oneOf", { oneOf: [{ type: "number" }, { type: "integer" }] }, "schema.oneOf"],
    ["several patterns of names", { patternProperties: { a: {}, b: {} } }, "schema.patternProperties"],
    ["a wrong type", { type: "text" }, "schema.type"],
    ["no schema", { items: 5 }, "schema.items"],
    ["a text as a count", { type: "string", maxLength: "5" }, "schema.maxLength"],
    ["a reference to itself", { $defs: { a: { $ref: "#/$defs/a" } }, $ref: "#/$defs/a" }, "schema"],
    [
      "merged with itself",
      { $defs: { a: { allOf: [{ $ref: "#/$defs/a" }] } }, $ref: "#/$defs/a" },
      "schema.$defs.a.allOf.0",
    ],
    ["nothing", false, "schema"],
    ["a contradiction", { type: "integer", minimum: 5, maximum: 4 }, "schema"],
    ["no end", { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] }, "schema"],
  ])("%s", (_, schema, param) => {
    expect(
      caught(() => accepts(schema, "")),
      "",
    ).toMatchObject({ status: 400, param });
  });
});
