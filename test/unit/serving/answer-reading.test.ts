/**
 * Answers that think and call, token by token: markers that are control tokens are seen, every token whose text is thoughts
 * or words is in exactly one event and in order, and how the tokens are cut changes nothing.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AnswerCollector } from "../../../src/protocol/answer.ts";
import { EventOrder } from "../../../src/protocol/event-order.ts";
import type { GenerateEvent, GenerateRequest, Tool } from "../../../src/protocol/generate.ts";
import { AnswerPlans, readingOf } from "../../../src/serving/answer-plan.ts";
import { callId } from "../../../src/serving/call-id.ts";
import { Choice } from "../../../src/serving/choice.ts";
import type { AnswerSyntax } from "../../../src/text/answer-syntax.ts";
import { HERMES } from "../../../src/text/tools/hermes.ts";
import { ByteTokenizer, CONTROL_TEXTS, END_ID } from "./byte-tokenizer.ts";
import { request } from "./world.ts";

const characters = [..."abcdefghijklmnopqrstuvwxyz{}:,. _/\n<>", '"'];
const tokenizer = new ByteTokenizer([
  ...characters,
  "<think>",
  "</think>",
  '{"name": "f"',
  ', "arguments": {',
  "}}",
  "ab",
]);
/** Structure in control tokens: `<user>` opens a call and `<bot>` closes it. */
const controlled = { ...HERMES, open: "<user>", close: "<bot>" };
const syntaxOf = (format: typeof HERMES): AnswerSyntax => ({
  thinking: { open: "<think>", close: "</think>" },
  tools: { format, isTemplates: true },
});
const TOOL: Tool = { name: "f", description: "", parameters: null, strict: false };

interface Settings {
  format?: typeof HERMES;
  prompt?: string;
  stopStrings?: string[];
  changes?: Partial<GenerateRequest>;
}

function generate(ids: readonly number[], { format = HERMES, prompt = "", stopStrings = [], changes }: Settings = {}) {
  const events: GenerateEvent[] = [];
  const asked = request({
    prompts: [{ kind: "chat", messages: [], tools: [TOOL] }],
    toolChoice: "auto",
    ...changes,
  });
  const plan = new AnswerPlans(tokenizer, syntaxOf(format)).of(asked, 0, prompt);
  const choice = new Choice({
    index: 0,
    tokenizer,
    stopStrings,
    stopTokenIds: new Set(),
    ignoreEos: false,
    numLogprobs: 0,
    reading: plan === null ? null : readingOf(plan, "r1", [1, 2], 0),
    emit: (event) => events.push(event),
  });
  const isStopped = ids.some((token) => choice.push({ token, logprob: -token, top: [], logits: null }));
  choice.finish(isStopped ? "stop" : "length");
  const collector = new AnswerCollector(1);
  const order = new EventOrder(1);
  const whole: GenerateEvent[] = [
    { type: "start", model: "m", promptTokens: 1, cachedTokens: 0 },
    ...events,
    {
      type: "done",
      usage: { promptTokens: 1, completionTokens: 1, cachedTokens: 0 },
      timings: { queueMs: 0, ttftMs: 0, totalMs: 0 },
    },
  ];
  for (const event of whole) {
    order.check(event);
    collector.add(event);
  }
  const { text, reasoning, toolCalls, reason } = collector.answer().choices[0]!;
  const tokenIds = events.flatMap((event) => ("tokenIds" in event ? event.tokenIds : []));
  return { text, reasoning, calls: toolCalls, reason, tokenIds, events, choice };
}

/** In the longest tokens, or in single characters. */
const encode = (text: string) => tokenizer.encode(text, { addSpecialTokens: false, parseSpecial: true });
const spelled = (text: string) =>
  encode(text).flatMap((id) => (tokenizer.isControl(id) ? [id] : [...tokenizer.decode([id])].flatMap(encode)));

const CALL = '{"name": "f", "arguments": {"a": {"b": "c"}}}';
const id = (call: number) => callId("r1", [1, 2], 0, call);

describe("calls", () => {
  test.each([
    ["in ordinary tokens", HERMES],
    ["between control tokens", controlled],
  ])("%s are told apart from words, and end the answer with tool_calls", (_name, format) => {
    const text = `ab\n${format.open}\n${CALL}\n${format.close}\n${format.open}\n${CALL}\n${format.close}<end>`;
    for (const ids of [encode(text), spelled(text)]) {
      expect(generate(ids, { format })).toMatchObject({
        text: "ab",
        reasoning: "",
        reason: "tool_calls",
        calls: [
          { id: id(0), name: "f", arguments: '{"a": {"b": "c"}}' },
          { id: id(1), name: "f", arguments: '{"a": {"b": "c"}}' },
        ],
      });
    }
  });

  test("of a named tool end with stop, as OpenAI's do; those that were cut with what cut them", () => {
    const text = `<tool_call>${CALL}</tool_call>`;
    const named = { changes: { toolChoice: { name: "f" } } };
    expect(generate([...encode(text), END_ID], named).reason).toBe("stop");
    expect(generate(encode(text), named).reason).toBe("length");
    expect(generate(encode(text)).reason).toBe("length");
    const stopped = generate(encode(text), { stopStrings: ["b"] });
    expect(stopped).toMatchObject({ reason: "stop", calls: [{ name: "f", arguments: '{"a": {"' }] });
  });

  test("are words where there are no tools, or none may be called", () => {
    const text = `<tool_call>${CALL}</tool_call>`;
    for (const changes of [
      { toolChoice: "none" as const },
      { prompts: [{ kind: "chat" as const, messages: [] }] },
      { prompts: [{ kind: "text" as const, text: "x" }] },
    ]) {
      expect(generate([...encode(text), END_ID], { changes })).toMatchObject({ text, calls: [], reason: "stop" });
    }
  });

  test("have ids of their own in every choice and every request, the same ones when made again", () => {
    const ids = [
      callId("r1", [1, 2], 0, 0),
      callId("r1", [1, 2], 0, 1),
      callId("r1", [1, 2], 1, 0),
      callId("r1", [2, 1], 0, 0),
      callId("r2", [1, 2], 0, 0),
    ];
    expect(new Set(ids).size).toBe(ids.length);
    for (const one of ids) expect(one).toMatch(/^call_[0-9A-Za-z]{24}$/);
    expect(callId("r1", [1, 2], 0, 0)).toBe(ids[0]);
  });
});

describe("thoughts", () => {
  test("are reasoning, and so many tokens", () => {
    const thought = generate([...encode("<think>\nab.\n</think>\n\nabc"), END_ID]);
    expect(thought).toMatchObject({ reasoning: "ab.", text: "abc", reason: "stop" });
    expect(thought.choice.numReasoningTokens).toBeGreaterThan(2);
    expect(thought.choice.text).toBe("abc");
    expect(generate(encode("ab.</think>abc"), { prompt: "x<think>\n" })).toMatchObject({
      reasoning: "ab.",
      text: "abc",
    });
    expect(generate(encode("ab.</think>abc"), { prompt: "<think>\n\n</think>\n\n" })).toMatchObject({
      reasoning: "",
      text: "ab.</think>abc",
    });
  });
});

test("all tokens of an answer without calls are in its events, in order, wherever they are cut", () => {
  const piece = fc.constantFrom("<think>", "</think>", "a", "b", "ab", "\n", " ", "<", "{", '"', "<tool_call>", "f");
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), fc.constantFrom("", "<think>"), (pieces, prompt) => {
      const text = pieces.join("");
      const long = generate(encode(text), { prompt });
      const short = generate(spelled(text), { prompt });
      expect(long.tokenIds).toEqual(encode(text));
      expect(short.tokenIds).toEqual(spelled(text));
      const { tokenIds: _, events: __, choice: ___, ...said } = long;
      expect(short).toMatchObject(said);
    }),
  );
});

test("tokens that are no markers stay unseen", () => {
  expect(CONTROL_TEXTS).toContain("<user>");
  const ids = [encode("<user>")[0]!, ...encode("ab")];
  expect(generate(ids)).toMatchObject({ text: "ab" });
});

describe("what binds an answer", () => {
  const letters = [..."abcdefghijklmno"];
  const keys = letters.flatMap((first) => letters.map((second) => first + second));
  const properties = Object.fromEntries(keys.map((key) => [key, { type: "string" }]));
  const parameters = { type: "object", properties, additionalProperties: false };
  const tools = (strict: boolean): Tool[] =>
    [..."abcdefghijklmnopqrstuvwxyz"].map((name) => ({ name, description: "", parameters, strict }));
  const planOf = (changes: Partial<GenerateRequest>) =>
    new AnswerPlans(tokenizer, syntaxOf(HERMES)).of(request({ toolChoice: "auto", ...changes }), 0, "");
  const chat = (offered: Tool[]) => [{ kind: "chat" as const, messages: [], tools: offered }];

  test("is nothing without tools and constraint, though a model may think", () => {
    expect(planOf({ prompts: chat([]) })).toMatchObject({ isThinker: true, grammar: null });
    expect(planOf({ prompts: [{ kind: "text", text: "a" }] })).toBeNull();
    expect(planOf({ prompts: chat([]), constraint: { kind: "json" } })!.grammar).not.toBeNull();
  });

  test("are the schemas of strict tools, however many; those of others as far as they fit", () => {
    expect(planOf({ prompts: chat(tools(false)) })!.grammar).not.toBeNull();
    expect(() => planOf({ prompts: chat(tools(true)) })).toThrow("makes a grammar of more than");
  });

  test("is compiled once for requests that ask for the same", () => {
    const again = planOf({ prompts: chat([TOOL]) })!.grammar;
    expect(planOf({ prompts: chat([{ ...TOOL }]) })!.grammar).toBe(again);
    expect(planOf({ prompts: chat([TOOL]), toolChoice: "required" })!.grammar).not.toBe(again);
  });
});
