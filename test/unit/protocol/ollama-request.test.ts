import { describe, expect, test } from "vitest";
import { decodeOllamaChat } from "../../../src/protocol/ollama/chat-request.ts";
import { decodeOllamaEmbed } from "../../../src/protocol/ollama/embed.ts";
import { decodeOllamaGenerate } from "../../../src/protocol/ollama/generate-request.ts";
import { unloads } from "../../../src/protocol/ollama/keep-alive.ts";
import { caught } from "./caught.ts";

const USER = { role: "user", content: "hi" };
const chat = (fields: object = {}) => decodeOllamaChat({ model: "m", messages: [USER], ...fields }, "r");
const generate = (fields: object = {}) => decodeOllamaGenerate({ model: "m", prompt: "hi", ...fields }, "r");

test("a chat with nothing said has Ollama's defaults, and streams", () => {
  expect(chat()).toEqual({
    model: "m",
    stream: true,
    unloads: false,
    generate: {
      requestId: "r",
      model: "m",
      prompts: [{ kind: "chat", messages: [USER] }],
      n: 1,
      beams: null,
      sampling: {
        temperature: 0.8,
        topK: 40,
        topP: 0.9,
        minP: 0,
        repetitionPenalty: 1,
        presencePenalty: 0,
        frequencyPenalty: 0,
        logitBias: [],
        seed: null,
      },
      maxTokens: null,
      stopStrings: [],
      stopTokenIds: [],
      ignoreEos: false,
      minTokens: 0,
      allowedTokenIds: null,
      badWords: [],
      constraint: null,
      toolChoice: "none",
      parallelToolCalls: true,
      logprobs: null,
      echo: false,
      cacheSalt: "",
      priority: 0,
    },
  });
});

test("options reach the sampler by their own names", () => {
  const options = {
    ...{ num_predict: 9, temperature: 0, top_k: 0, top_p: 1, min_p: 0.1, seed: 4, stop: ["a", "b"] },
    ...{ repeat_penalty: 1.1, repeat_last_n: -1, presence_penalty: 0.5, frequency_penalty: -0.5, num_ctx: 4096 },
  };
  expect(chat({ options }).generate).toMatchObject({
    maxTokens: 9,
    stopStrings: ["a", "b"],
    sampling: {
      ...{ temperature: 0, topK: 0, topP: 1, minP: 0.1, seed: 4 },
      ...{ repetitionPenalty: 1.1, presencePenalty: 0.5, frequencyPenalty: -0.5 },
    },
  });
});

test.each([
  [{ num_predict: -1 }, { maxTokens: null }],
  [{ num_predict: -2 }, { maxTokens: null }],
  [{ num_predict: 0 }, { maxTokens: null }],
  [{ seed: -1 }, { sampling: { seed: null } }],
  [{ stop: "x" }, { stopStrings: ["x"] }],
  [{ repeat_penalty: 1.5, repeat_last_n: 0 }, { sampling: { repetitionPenalty: 1 } }],
  [{ temperature: null, stop: null }, { sampling: { temperature: 0.8 } }],
])("options %j mean %j", (options, expected) => {
  expect(chat({ options }).generate).toMatchObject(expected);
});

test.each([
  ["json", { kind: "json" }],
  ["", null],
  [null, null],
  [{ type: "object" }, { kind: "schema", schema: { type: "object" } }],
])("format %j is the constraint %j", (format, constraint) => {
  expect(chat({ format }).generate!.constraint).toEqual(constraint);
  expect(generate({ format }).generate!.constraint).toEqual(constraint);
});

test.each([
  [true, { enable_thinking: true }],
  [false, { enable_thinking: false }],
  ["high", { enable_thinking: true, reasoning_effort: "high" }],
  [null, undefined],
])("think %j is told to the template as %j", (think, templateArguments) => {
  for (const request of [chat({ think }), generate({ think })]) {
    expect((request.generate!.prompts[0] as { templateArguments?: unknown }).templateArguments).toEqual(
      templateArguments,
    );
  }
});

describe("a prompt of /api/generate", () => {
  const prompt = (fields: object) => generate(fields).generate!.prompts[0];

  test("is a user's message, behind a system's where there is one", () => {
    expect(prompt({})).toEqual({ kind: "chat", messages: [USER] });
    expect(prompt({ system: "S" })).toEqual({ kind: "chat", messages: [{ role: "system", content: "S" }, USER] });
  });

  test("is the text itself with raw", () => {
    expect(prompt({ raw: true })).toEqual({ kind: "text", text: "hi" });
    expect(caught(() => generate({ raw: true, system: "S" }))).toMatchObject({ status: 400, param: "system" });
  });
});

describe("without a prompt", () => {
  test("a request loads, or unloads", () => {
    for (const request of [chat({ messages: [] }), generate({ prompt: "" }), generate({ prompt: null, system: "S" })]) {
      expect(request).toMatchObject({ generate: null, unloads: false });
    }
    expect(decodeOllamaChat({ model: "m", keep_alive: 0 }, "r")).toMatchObject({ generate: null, unloads: true });
  });

  test.each([0, "0", "0s", "-0", "0h0m0s", "0.0ms"])("keep_alive %j unloads", (value) => {
    expect(unloads(value)).toBe(true);
  });

  test.each([null, undefined, -1, 5, 0.5, "5m", "1h30m", "-1s", "300", "1.5h"])("keep_alive %j does not", (value) => {
    expect(unloads(value)).toBe(false);
  });

  test.each(["", "soon", "5 m", "m", true, [], "1".repeat(65), `${"0".repeat(60)}x`])(
    "keep_alive %j is refused",
    (value) => {
      expect(caught(() => unloads(value))).toMatchObject({ status: 400, param: "keep_alive" });
    },
  );
});

describe("messages", () => {
  const messages = (list: object[]) => {
    const [prompt] = chat({ messages: list }).generate!.prompts;
    return prompt!.kind === "chat" ? prompt!.messages : [];
  };
  const call = (name: string, values: object, id?: string) => ({
    ...(id && { id }),
    function: { name, arguments: values },
  });

  test("may have no content, and thoughts of the assistant's", () => {
    expect(messages([USER, { role: "assistant", thinking: "hm" }])).toEqual([
      USER,
      { role: "assistant", content: "", reasoning: "hm" },
    ]);
  });

  test("calls and their results find each other, by name, by order or by id", () => {
    const list = [
      { role: "assistant", content: "", tool_calls: [call("a", { x: 1 }), call("b", {}), call("a", {}, "mine")] },
      { role: "tool", content: "rb", tool_name: "b" },
      { role: "tool", content: "ra", tool_name: "a" },
      { role: "tool", content: "r", tool_call_id: "mine" },
      { role: "tool", content: "more" },
    ];
    expect(messages(list)).toEqual([
      {
        role: "assistant",
        content: "",
        toolCalls: [
          { id: "call_0_0", name: "a", arguments: '{"x":1}' },
          { id: "call_0_1", name: "b", arguments: "{}" },
          { id: "mine", name: "a", arguments: "{}" },
        ],
      },
      { role: "tool", content: "rb", toolCallId: "call_0_1", name: "b" },
      { role: "tool", content: "ra", toolCallId: "call_0_0", name: "a" },
      { role: "tool", content: "r", toolCallId: "mine", name: "a" },
      { role: "tool", content: "more", toolCallId: "call" },
    ]);
  });

  test.each([
    [[{ role: "judge", content: "x" }], "messages.0.role"],
    [[USER, { role: "user", content: [{ type: "text", text: "x" }] }], "messages.1.content"],
    [[{ role: "user", content: "x", images: ["aGk="] }], "messages.0.images"],
    [
      [{ role: "assistant", tool_calls: [{ function: { name: "f", arguments: "{}" } }] }],
      "messages.0.tool_calls.0.function.arguments",
    ],
    ["hi", "messages"],
  ])("%j are refused for %s", (list, param) => {
    expect(caught(() => chat({ messages: list }))).toMatchObject({ status: 400, param });
  });
});

test("tools are told to the template, and may be called", () => {
  const parameters = { type: "object", properties: { city: { type: "string" } } };
  const tools = [{ type: "function", function: { name: "weather", description: "Of a city", parameters } }];
  expect(chat({ tools }).generate).toMatchObject({
    prompts: [{ tools: [{ name: "weather", description: "Of a city", parameters, strict: false }] }],
    toolChoice: "auto",
  });
  expect(chat({ tools: [] }).generate).toMatchObject({ toolChoice: "none" });
});

test("JSON that is nested without end is refused, not walked through", () => {
  let deep: object = {};
  for (let i = 0; i < 100_000; i++) deep = { a: deep };
  const called = { role: "assistant", tool_calls: [{ function: { name: "f", arguments: deep } }] };
  for (const fields of [
    { format: deep },
    { messages: [called] },
    { tools: [{ type: "function", function: { name: "f", parameters: deep } }] },
  ]) {
    expect(caught(() => chat(fields)).message).toContain("nested more than");
  }
});

test.each<[() => unknown, string]>([
  [() => chat({ model: "" }), "model"],
  [() => chat({ stream: "yes" }), "stream"],
  [() => chat({ options: [] }), "options"],
  [() => chat({ options: { temperature: "hot" } }), "options.temperature"],
  [() => chat({ options: { num_predict: 1.5 } }), "options.num_predict"],
  [() => chat({ options: { repeat_penalty: 1.1, repeat_last_n: 64 } }), "options.repeat_last_n"],
  [() => chat({ format: "yaml" }), "format"],
  [() => chat({ think: "a lot" }), "think"],
  [() => chat({ top_logprobs: 2 }), "top_logprobs"],
  [() => decodeOllamaEmbed({ model: "m", input: [] }, "r"), "input"],
  [() => decodeOllamaEmbed({ model: "m", input: "" }, "r"), "input"],
  [() => decodeOllamaEmbed({ model: "m", input: [1] }, "r"), "input.0"],
])("case %# is refused for %s", (decode, param) => {
  expect(caught(decode)).toMatchObject({ status: 400, param });
});
