/**
 * Grammars of bound answers: what is drawn from one, by a model without any idea, is read as calls that the tools allow,
 * whatever the format.
 */
import { describe, expect, test } from "vitest";
import type { Tool } from "../../../src/protocol/generate.ts";
import { AnswerReader } from "../../../src/text/answer-reader.ts";
import { compileParts } from "../../../src/text/grammar/grammar-compiler.ts";
import { type AnswerRules, answerGrammar, bindsAnswer } from "../../../src/text/tools/answer-grammar.ts";
import { TOOL_FORMATS } from "../../../src/text/tools/formats.ts";
import { HERMES } from "../../../src/text/tools/hermes.ts";
import type { ToolFormat } from "../../../src/text/tools/tool-format.ts";
import { uniformSource } from "../../support/random.ts";
import { caught } from "../protocol/caught.ts";
import { sample } from "./grammar/sample.ts";
import { JSON_WORDS, testVocabulary } from "./grammar/vocabulary.ts";

const THINKING = { open: "<think>", close: "</think>" };
const vocabulary = testVocabulary([
  ...JSON_WORDS,
  '{"name": "',
  '", "arguments": ',
  "<tool_call>",
  "</tool_call>",
  "\n\n",
]);

const WEATHER: Tool = {
  name: "get_weather",
  description: "",
  parameters: {
    type: "object",
    properties: { city: { type: "string", maxLength: 5 }, days: { type: "integer", minimum: 1, maximum: 7 } },
    required: ["city"],
    additionalProperties: false,
  },
  strict: true,
};
const ANY: Tool = { name: "any", description: "", parameters: null, strict: false };

function rulesOf(format: ToolFormat, changes: Partial<AnswerRules> = {}): AnswerRules {
  return {
    syntax: { thinking: null, tools: { format, isTemplates: true } },
    thinking: "none",
    tools: [WEATHER, ANY],
    toolChoice: "required",
    parallelToolCalls: true,
    constraint: null,
    controlId: () => null,
    ...changes,
  };
}

/** Texts that the grammar lets through, read again. */
function drawn(rules: AnswerRules, count = 30) {
  const grammar = compileParts(answerGrammar(rules), vocabulary, "tools");
  const uniform = uniformSource(7);
  return Array.from({ length: count }, () => {
    const { text, isComplete } = sample(grammar, vocabulary, uniform, { numTokensMax: 2000, endsFrom: 60 });
    expect(isComplete).toBe(true);
    return { text, ...read(rules, text) };
  });
}

function read({ syntax, thinking, tools }: AnswerRules, text: string) {
  const reader = new AnswerReader({
    thinking: thinking === "open" || thinking === "possible" ? syntax.thinking : null,
    isThinking: thinking === "open",
    tools: { format: syntax.tools.format, names: new Set(tools.map(({ name }) => name)) },
  });
  const calls: { name: string; arguments: string }[] = [];
  let words = "";
  for (const part of [...reader.push(text), ...reader.flush()]) {
    if (part.kind === "call") calls.push({ name: part.name, arguments: "" });
    else if (part.kind === "arguments") calls.at(-1)!.arguments += part.text;
    else if (part.kind === "text") words += part.text;
  }
  return { calls, words };
}

function expectValid(calls: readonly { name: string; arguments: string }[]): void {
  for (const call of calls) {
    const value = JSON.parse(call.arguments);
    if (call.name === "any") expect(value).toBeTypeOf("object");
    else {
      expect(value.city).toBeTypeOf("string");
      expect(Object.keys(value).every((key) => ["city", "days"].includes(key))).toBe(true);
    }
  }
}

describe.each(TOOL_FORMATS)("calls in the format of $name", (format) => {
  test("that must come are all there is, and valid", () => {
    const answers = drawn(rulesOf(format));
    for (const { calls, words } of answers) {
      expect(words).toBe("");
      expect(calls.length).toBeGreaterThan(0);
      expectValid(calls);
    }
    expect(new Set(answers.flatMap(({ calls }) => calls.map(({ name }) => name)))).toEqual(
      new Set(["get_weather", "any"]),
    );
    expect(Math.max(...answers.map(({ calls }) => calls.length))).toBeGreaterThan(1);
  });

  test("are one where no two may come, and the one that was named", () => {
    for (const { calls } of drawn(rulesOf(format, { parallelToolCalls: false }))) expect(calls).toHaveLength(1);
    for (const { calls } of drawn(rulesOf(format, { toolChoice: { name: "any" } }))) {
      expect(calls.map(({ name }) => name)).toEqual(["any"]);
    }
  });

  test("that may come are valid once they are begun", () => {
    const rules = rulesOf(format, { toolChoice: "auto" });
    const grammar = compileParts(answerGrammar(rules), vocabulary, "tools");
    const accepts = (text: string) => {
      const cursor = grammar.begin();
      return [...new TextEncoder().encode(text)].every((byte) => cursor.accept(byte)) && cursor.isComplete;
    };
    const call = `{"name": "any", "${format.argumentsKey}": {}}`;
    const begin = `${format.open}${format.before}${format.isList ? "[" : ""}`;
    const end = `${format.isList ? "]" : ""}${format.after}${format.close}`;
    expect(accepts("Hello {} < [")).toBe(true);
    expect(accepts(`Hello ${begin}${call}${end}`)).toBe(true);
    expect(accepts(`Hello ${begin}${call}${end} there`)).toBe(true);
    expect(accepts(`Hello ${begin}oops`)).toBe(false);
    expect(accepts(`Hello ${begin}${call.replace("any", "other")}${end}`)).toBe(false);
  });
});

test("thoughts come first where the model has them, and are free", () => {
  const syntax = { thinking: THINKING, tools: { format: HERMES, isTemplates: true } };
  for (const thinking of ["open", "possible"] as const) {
    const rules = rulesOf(HERMES, { syntax, thinking });
    const grammar = compileParts(answerGrammar(rules), vocabulary, "tools");
    const accepts = (text: string) => {
      const cursor = grammar.begin();
      return [...new TextEncoder().encode(text)].every((byte) => cursor.accept(byte)) && cursor.isComplete;
    };
    const call = '<tool_call>\n{"name": "any", "arguments": {}}\n</tool_call>';
    const thoughts = `${thinking === "open" ? "" : "<think>"}\nHm, <tool_call> {.\n</think>\n\n`;
    expect(accepts(thoughts + call)).toBe(true);
    expect(accepts(thoughts)).toBe(false);
    expect(accepts(call)).toBe(thinking === "possible");
    expect(accepts(`${thoughts}Hello`)).toBe(false);
  }
});

test("with a constraint it is the constrained text or calls", () => {
  const constraint = { kind: "bytes" as const, bytes: new TextEncoder().encode("{}") };
  const answers = drawn(rulesOf(HERMES, { toolChoice: "auto", constraint }), 60);
  expect(answers.some(({ words }) => words === "{}")).toBe(true);
  expect(answers.some(({ calls }) => calls.length > 0)).toBe(true);
  for (const { calls, words } of answers) expect(calls.length > 0).toBe(words === "");
});

test("markers that are control tokens are those tokens", () => {
  const rules = rulesOf(HERMES, {
    controlId: (text) => (text === HERMES.open ? vocabulary.controlId : null),
    toolChoice: { name: "any" },
  });
  const cursor = compileParts(answerGrammar(rules), vocabulary, "tools").begin();
  expect(cursor.accept("<".charCodeAt(0))).toBe(false);
  expect(cursor.accept(vocabulary.controlId)).toBe(true);
});

test("nothing binds an answer without tools and constraint", () => {
  expect(bindsAnswer(rulesOf(HERMES, { toolChoice: "none" }))).toBe(false);
  expect(bindsAnswer(rulesOf(HERMES, { tools: [] }))).toBe(false);
  expect(bindsAnswer(rulesOf(HERMES))).toBe(true);
});

test("a schema that cannot be enforced is refused for a strict tool, and any object for others", () => {
  const parameters = { type: "object", properties: { a: { not: { type: "string" } } } };
  const strict = rulesOf(HERMES, { tools: [{ ...ANY, parameters, strict: true }] });
  expect(caught(() => answerGrammar(strict))).toMatchObject({ status: 400 });
  expect(caught(() => answerGrammar(strict)).param).toMatch(/^tools\.0\.function\.parameters/);
  const lax = rulesOf(HERMES, { tools: [{ ...ANY, parameters, strict: false }] });
  for (const { calls } of drawn(lax, 5)) expectValid(calls);
});
