/**
 * Answers told apart into thoughts, words and calls, in every format and with every cut. What is said must not depend on
 * how it was cut into pieces, the arguments of a call are the model's own text, and nothing of what is around them leaks.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AnswerReader, type AnswerReaderOptions } from "../../../src/text/answer-reader.ts";
import { TOOL_FORMATS } from "../../../src/text/tools/formats.ts";
import { GRANITE } from "../../../src/text/tools/granite.ts";
import { HERMES } from "../../../src/text/tools/hermes.ts";
import { LLAMA } from "../../../src/text/tools/llama.ts";
import { MISTRAL } from "../../../src/text/tools/mistral.ts";
import type { ToolFormat } from "../../../src/text/tools/tool-format.ts";

const THINKING = { open: "<think>", close: "</think>" };
const NAMES = ["f", "get_weather", "a.b-c"];

interface Said {
  words: string;
  thoughts: string;
  calls: { name: string; arguments: string }[];
}

const optionsOf = (format: ToolFormat | null, changes: Partial<AnswerReaderOptions> = {}): AnswerReaderOptions => ({
  thinking: THINKING,
  isThinking: false,
  tools: format === null ? null : { format, names: new Set(NAMES) },
  ...changes,
});

/** @param pieces the text in pieces, as a model gives it */
function read(options: AnswerReaderOptions, pieces: readonly string[]): Said {
  const reader = new AnswerReader(options);
  const said: Said = { words: "", thoughts: "", calls: [] };
  let end = 0;
  let numSeen = 0;
  const take = (parts: ReturnType<AnswerReader["push"]>) => {
    for (const part of parts) {
      expect(part.end).toBeGreaterThanOrEqual(end);
      end = part.end;
      expect(end).toBeLessThanOrEqual(numSeen);
      if (part.kind === "call") said.calls.push({ name: part.name, arguments: "" });
      else if (part.kind === "arguments") said.calls.at(-1)!.arguments += part.text;
      else if (part.kind === "reasoning") said.thoughts += part.text;
      else said.words += part.text;
    }
  };
  for (const piece of pieces) {
    numSeen += piece.length;
    take(reader.push(piece));
  }
  take(reader.flush());
  return said;
}

/** In one piece, in single characters, and at each place in two. */
function readInAllWays(options: AnswerReaderOptions, text: string): Said {
  const whole = read(options, [text]);
  expect(read(options, [...text])).toEqual(whole);
  for (let cut = 1; cut < text.length; cut++) {
    expect(read(options, [text.slice(0, cut), text.slice(cut)])).toEqual(whole);
  }
  return whole;
}

/** As a model of this kind writes them. */
function written({ open, isList, before, after, close, separator, argumentsKey }: ToolFormat, calls: Said["calls"]) {
  const each = calls.map((call) => `{"name": ${JSON.stringify(call.name)}, "${argumentsKey}": ${call.arguments}}`);
  if (isList) return `${open}${before}[${each.join(separator)}]${after}${close}`;
  if (close === "") return open + before + each.join(separator);
  return each.map((one) => `${open}${before}${one}${after}${close}`).join(separator);
}

/** Words that begin and end with something visible and hold nothing that looks like structure. */
const words = fc
  .stringMatching(/^[a-z<>/_ .\n]{0,20}$/)
  .map((text) => `A${text}.`)
  .filter((text) => !/<think>|<\/think>|tool_call|python_tag/.test(text));
const calls = fc.array(
  fc.record({
    name: fc.constantFrom(...NAMES),
    arguments: fc.oneof(
      fc.dictionary(fc.string(), fc.jsonValue()).map((value) => JSON.stringify(value)),
      fc.dictionary(fc.string(), fc.jsonValue()).map((value) => JSON.stringify(value, null, 2)),
      fc.constantFrom('{"a": "</tool_call>\\"}]"}', "{}", '{ "x" : [ 1 , {} ] }'),
    ),
  }),
  { minLength: 1, maxLength: 3 },
);
const cuts = fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 });

function pieces(text: string, sizes: readonly number[]): string[] {
  const parts: string[] = [];
  for (let at = 0, i = 0; at < text.length; i++) {
    const size = sizes[i % sizes.length]!;
    parts.push(text.slice(at, at + size));
    at += size;
  }
  return parts;
}

describe.each(TOOL_FORMATS)("calls in the format of $name", (format) => {
  test("are read as they were written, with thoughts and words before them, however the text is cut", () => {
    fc.assert(
      fc.property(fc.option(words), fc.option(words), calls, cuts, (thoughts, before, made, sizes) => {
        const thought = thoughts === null ? "" : `<think>\n${thoughts}\n</think>\n\n`;
        const text = `${thought}${before === null ? "" : `${before}\n`}${written(format, made)}`;
        const expected = { thoughts: thoughts ?? "", words: before ?? "", calls: made };
        expect(read(optionsOf(format), [text])).toEqual(expected);
        expect(read(optionsOf(format), pieces(text, sizes))).toEqual(expected);
      }),
    );
  });

  test("may be followed by words", () => {
    const made = [{ name: "f", arguments: "{}" }];
    expect(readInAllWays(optionsOf(format), `${written(format, made)}\nDone.`)).toMatchObject({
      calls: made,
      words: "Done.",
    });
  });

  test("are words where nothing may be called", () => {
    const text = written(format, [{ name: "f", arguments: "{}" }]);
    expect(readInAllWays(optionsOf(null), text)).toEqual({ thoughts: "", words: text, calls: [] });
  });

  test("are words where they name no tool, or are no JSON", () => {
    for (const call of [
      '{"name": "rm", "arguments": {}}',
      '{"nam": 1}',
      "{oops}",
      "call f()",
      '{"arguments": {}}',
      "",
    ]) {
      const text = format.isList ? `${format.open}[${call}]` : `${format.open}${call}${format.close}`;
      expect(readInAllWays(optionsOf(format), `Well: ${text}`)).toEqual({
        thoughts: "",
        words: `Well: ${text}`,
        calls: [],
      });
    }
  });

  test("may have their keys in any order, their arguments as a string, or none", () => {
    const open = format.isList ? `${format.open}[` : format.open;
    const end = format.isList ? "]" : format.close;
    const said = (call: string) => readInAllWays(optionsOf(format), open + call + end);
    expect(said('{"arguments": {"x": 1}, "name": "f"}').calls).toEqual([{ name: "f", arguments: '{"x": 1}' }]);
    expect(said('{"id": "c1", "type": "function", "name": "f", "parameters": {"x": 1}}').calls).toEqual([
      { name: "f", arguments: '{"x": 1}' },
    ]);
    expect(said('{"name": "f", "arguments": "{\\"x\\": 1}"}').calls).toEqual([{ name: "f", arguments: '{"x": 1}' }]);
    expect(said('{"name": "f"}').calls).toEqual([{ name: "f", arguments: "{}" }]);
    expect(said('{"name": "f", "arguments": null }').calls).toEqual([{ name: "f", arguments: "null" }]);
  });

  test("that break off keep what there is of their arguments", () => {
    const open = format.isList ? `${format.open}[` : format.open;
    expect(readInAllWays(optionsOf(format), `${open}{"name": "f", "arguments": {"x": "a`)).toEqual({
      thoughts: "",
      words: "",
      calls: [{ name: "f", arguments: '{"x": "a' }],
    });
    expect(readInAllWays(optionsOf(format), `${open}{"name": "f`).calls).toEqual([]);
    expect(readInAllWays(optionsOf(format), `${open}{"name": "f", "arguments": {} oops`)).toEqual({
      thoughts: "",
      words: "oops",
      calls: [{ name: "f", arguments: "{}" }],
    });
  });

  test("give out their arguments as they come", () => {
    const reader = new AnswerReader(optionsOf(format));
    const open = format.isList ? `${format.open}[` : format.open;
    const parts = [`${open}{"name": "f", "arguments": {"city": "Pa`, 'ris", ', '"n": 1}}'].map((text) =>
      reader.push(text),
    );
    expect(parts.map((list) => list.map((part) => ("text" in part ? part.text : part.name)))).toEqual([
      ["f", '{"city": "Pa'],
      ['ris", '],
      ['"n": 1}'],
    ]);
  });

  test("never change what is said otherwise, nor hold it back longer than need be", () => {
    fc.assert(
      fc.property(words, cuts, (text, sizes) => {
        expect(read(optionsOf(format), pieces(text, sizes))).toEqual({ thoughts: "", words: text, calls: [] });
      }),
    );
    const reader = new AnswerReader(optionsOf(format));
    expect(reader.push("Hello")).toEqual([{ kind: "text", text: "Hello", end: 5 }]);
    expect(reader.push(" <")).toEqual(format.open.startsWith("<") ? [] : [{ kind: "text", text: " <", end: 7 }]);
    expect(reader.push("b>")).not.toEqual([]);
  });
});

describe("what single formats have besides", () => {
  test.each([
    [
      "one after another without a gap",
      HERMES,
      '<tool_call>{"name":"f"}</tool_call><tool_call>{"name":"f"}</tool_call>',
      2,
    ],
    ["no end tag", HERMES, '<tool_call>\n{"name": "f", "arguments": {}}\n<tool_call>\n{"name": "f"}', 2],
    ["without the tag", LLAMA, '{"name": "f", "parameters": {"x": 1}}', 1],
    ["with semicolons", LLAMA, '{"name": "f", "parameters": {}}; {"name": "f", "parameters": {}}', 2],
    ["an empty line first", LLAMA, '\n\n{"name": "f", "parameters": {}}', 1],
    ["spaces", MISTRAL, '[TOOL_CALLS] [ {"name": "f"} , {"name": "f"} ] ', 2],
    ["line breaks", GRANITE, '<|tool_call|>\n[\n{"name": "f"}\n]\n', 1],
  ])("%s", (_name, format, text, numCalls) => {
    const said = readInAllWays(optionsOf(format), text);
    expect(said.calls).toHaveLength(numCalls);
    expect(said.words).toBe("");
  });

  test("an object that is the answer, not a call", () => {
    for (const text of [
      '{"city": "Paris"}',
      '{"name": "Paris", "parameters": {}}',
      "{",
      "{}",
      ' {"a": {"name": "f"}}',
    ]) {
      expect(readInAllWays(optionsOf(LLAMA), text)).toEqual({ thoughts: "", words: text, calls: [] });
    }
    expect(readInAllWays(optionsOf(LLAMA), 'See: {"name": "f", "parameters": {}}').calls).toEqual([]);
  });
});

describe("thoughts", () => {
  const said = (text: string, changes: Partial<AnswerReaderOptions> = {}) =>
    readInAllWays(optionsOf(null, changes), text);

  test.each([
    ["<think>\nHm.\n</think>\n\nYes.", "Hm.", "Yes."],
    ["\n<think>Hm.</think>Yes.", "Hm.", "Yes."],
    ["<think>\n\n</think>\n\nYes.", "", "Yes."],
    ["<think>a </thin b</think>c", "a </thin b", "c"],
    ["<think>Hm", "Hm", ""],
    ["<think>Hm.</think>", "Hm.", ""],
    ["Yes <think>no</think>", "", "Yes <think>no</think>"],
    ["  Yes", "", "  Yes"],
    ["<thinking", "", "<thinking"],
    ["", "", ""],
  ])("%j", (text, thoughts, words) => {
    expect(said(text)).toEqual({ thoughts, words, calls: [] });
  });

  test("go on where the prompt began them", () => {
    expect(said("\nHm.\n</think>\nYes.\n", { isThinking: true })).toEqual({
      thoughts: "Hm.",
      words: "Yes.\n",
      calls: [],
    });
  });

  test("are words for a model that has none", () => {
    expect(said("<think>a</think>b", { thinking: null }).words).toBe("<think>a</think>b");
  });

  test("hold no calls", () => {
    const text = '<think><tool_call>{"name": "f"}</tool_call></think><tool_call>{"name": "f"}</tool_call>';
    expect(readInAllWays(optionsOf(HERMES), text)).toEqual({
      thoughts: '<tool_call>{"name": "f"}</tool_call>',
      words: "",
      calls: [{ name: "f", arguments: "{}" }],
    });
  });
});
