/** Ollama's answers: recorded bytes, and what must hold of every stream. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AnswerCollector } from "../../../src/protocol/answer.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import {
  chatFormat,
  generateFormat,
  type OllamaFormat,
  OllamaStream,
  ollamaBody,
  ollamaIdleBody,
} from "../../../src/protocol/ollama/answer.ts";
import { answer, delta, done, fault, finish, start, token } from "./events.ts";
import { texts } from "./texts.ts";

const FRAME = { model: "org/demo:latest", createdAt: "2026-12-01T00:00:00.000Z" };

const LOGPROBS = [token("Hé", -0.25, [["Ha", -1.5]])];
const thought = (text: string): GenerateEvent => ({ type: "reasoning", index: 0, text, tokenIds: [1], tokens: null });
const call = (at: number, name: string): GenerateEvent => ({
  type: "toolCall",
  index: 0,
  call: at,
  id: `c${at}`,
  name,
});
const args = (at: number, text: string): GenerateEvent => ({ type: "toolArguments", index: 0, call: at, text });

const CALLS = [
  start(),
  thought("Hm"),
  thought("m."),
  delta("Let me see."),
  call(0, "weather"),
  args(0, '{"city":'),
  args(0, '"Bern"}'),
  call(1, "now"),
  finish(0, "tool_calls"),
  done(),
];

function write(format: OllamaFormat, events: GenerateEvent[]): string {
  const encoder = new OllamaStream(format, FRAME);
  const text = events.map((event) => encoder.encode(event)).join("");
  encoder.end();
  return text;
}

function whole(format: OllamaFormat, events: GenerateEvent[]) {
  const collector = new AnswerCollector(1);
  for (const event of events) collector.add(event);
  return JSON.parse(JSON.stringify(ollamaBody(collector.answer(), format, FRAME)));
}

const linesOf = (text: string) =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));

describe("golden streams", () => {
  test.each<[string, OllamaFormat, GenerateEvent[]]>([
    ["ollama-chat", chatFormat, answer("Hé", "", "llo\n🦀")],
    ["ollama-chat-calls", chatFormat, CALLS],
    ["ollama-chat-logprobs", chatFormat, [start(), delta("Hé", 0, LOGPROBS), finish(0, "length"), done()]],
    ["ollama-generate", generateFormat, [start(), thought("Hm."), delta("Hi"), finish(0, "stop", "###"), done()]],
    ["ollama-error", generateFormat, [start(), delta("Hi"), fault()]],
  ])("%s", async (name, format, events) => {
    await expect(write(format, events)).toMatchFileSnapshot(`golden/${name}.ndjson`);
  });

  test("whole answers", async () => {
    const bodies = [
      whole(chatFormat, CALLS),
      whole(chatFormat, [start(), delta("Hé", 0, LOGPROBS), finish(0, "length"), done()]),
      whole(generateFormat, [start(), thought("Hm."), delta("Hi"), finish(), done()]),
      ollamaIdleBody(false, chatFormat, FRAME),
      ollamaIdleBody(true, generateFormat, FRAME),
    ];
    const lines = bodies.map((one) => `${JSON.stringify(one)}\n`).join("");
    await expect(lines).toMatchFileSnapshot("golden/ollama-whole-answers.jsonl");
  });
});

test("every stream has one last line that is done, and says what the whole answer says", () => {
  fc.assert(
    fc.property(fc.array(texts, { maxLength: 6 }), (pieces) => {
      const events = answer(...pieces);
      const lines = linesOf(write(chatFormat, events));
      expect(lines.map(({ done }) => done)).toEqual(lines.map((_, i) => i === lines.length - 1));
      const { message, ...rest } = whole(chatFormat, events);
      expect(lines.map((line) => line.message.content).join("")).toBe(message.content);
      expect(lines.at(-1)).toEqual({ ...rest, message: { role: "assistant", content: "" } });
    }),
  );
});

test("durations are whole nanoseconds, and never negative", () => {
  const timings = { queueMs: 0.1234567, ttftMs: 0.1, totalMs: 10 };
  const events: GenerateEvent[] = [start(), finish(), { ...done(), timings } as GenerateEvent];
  expect(linesOf(write(chatFormat, events)).at(-1)).toMatchObject({
    total_duration: 10_000_000,
    load_duration: 123_457,
    prompt_eval_count: 7,
    prompt_eval_duration: 0,
    eval_count: 3,
    eval_duration: 9_900_000,
  });
});

test.each([
  ["", {}],
  [" ", {}],
  ['{"a":1}', { a: 1 }],
  ['{"a":', null],
  ["[1]", null],
  ["5", null],
])("arguments %j are %j, streamed and whole", (json, values) => {
  const events = [start(), call(0, "f"), args(0, json), finish(0, "length"), done()];
  const expected = values === null ? undefined : [{ id: "c0", function: { index: 0, name: "f", arguments: values } }];
  expect(linesOf(write(chatFormat, events))[0].message.tool_calls).toEqual(expected);
  const { message } = whole(chatFormat, events);
  expect(message.tool_calls).toEqual(expected);
});
