/** Tools, calls, results and template variables of a chat request. */
import { describe, expect, test } from "vitest";
import { decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { caught } from "./caught.ts";

const USER = { role: "user", content: "hi" };
const PARAMETERS = { type: "object", properties: { city: { type: "string" } } };
const TOOL = { type: "function", function: { name: "f", description: "F", parameters: PARAMETERS, strict: true } };
const OTHER = { type: "function", function: { name: "g.h" } };
const named = (name: string) => ({ type: "function", function: { name } });
const allowed = (mode: string, ...names: string[]) => ({
  type: "allowed_tools",
  allowed_tools: { mode, tools: names.map(named) },
});

const decode = (fields: object) => decodeChatRequest({ model: "m", messages: [USER], ...fields }, "r").generate;
const promptOf = (fields: object) => decode(fields).prompts[0];
const messagesOf = (...messages: object[]) => (promptOf({ messages }) as { messages: object[] }).messages;

const F = { name: "f", description: "F", parameters: PARAMETERS, strict: true };
const G = { name: "g.h", description: "", parameters: null, strict: false };

describe("tools", () => {
  test("come with their schema, and may be called unless it is said otherwise", () => {
    const tools = [TOOL, OTHER];
    expect(promptOf({ tools })).toEqual({ kind: "chat", messages: [USER], tools: [F, G] });
    expect(decode({ tools })).toMatchObject({ toolChoice: "auto", parallelToolCalls: true });
    expect(decode({ tools, tool_choice: "required", parallel_tool_calls: false })).toMatchObject({
      toolChoice: "required",
      parallelToolCalls: false,
    });
    expect(decode({ tools, tool_choice: named("g.h") })).toMatchObject({ toolChoice: { name: "g.h" } });
  });

  test('are not told of with tool_choice "none"', () => {
    expect(decode({ tools: [TOOL], tool_choice: "none" })).toEqual(decode({}));
  });

  test("of allowed_tools are the only ones", () => {
    const request = decode({ tools: [TOOL, OTHER], tool_choice: allowed("required", "g.h") });
    expect(request).toMatchObject({ toolChoice: "required", prompts: [{ tools: [G] }] });
  });

  test("may have their older names", () => {
    const functions = [TOOL.function, OTHER.function];
    expect(decode({ functions })).toEqual(decode({ tools: [TOOL, OTHER] }));
    expect(decode({ functions, function_call: { name: "f" } })).toMatchObject({ toolChoice: { name: "f" } });
    expect(decode({ functions, function_call: "none" })).toEqual(decode({}));
  });

  test.each<[string, object]>([
    ["tools", { tools: [] }],
    ["tools", { tools: {} }],
    ["tools.0", { tools: [null] }],
    ["tools.0.type", { tools: [{ type: "custom", custom: { name: "x" } }] }],
    ["tools.0.type", { tools: [{ function: { name: "x" } }] }],
    ["tools.0.function", { tools: [{ type: "function" }] }],
    ["tools.0.function.name", { tools: [named("")] }],
    ["tools.0.function.name", { tools: [named("a b")] }],
    ["tools.0.function.parameters", { tools: [{ type: "function", function: { name: "x", parameters: [] } }] }],
    ["tools.1.function.name", { tools: [TOOL, TOOL] }],
    ["tool_choice", { tool_choice: "auto" }],
    ["tool_choice", { tool_choice: "required" }],
    ["tool_choice", { tools: [TOOL], tool_choice: "f" }],
    ["tool_choice", { tools: [TOOL], tool_choice: named("x") }],
    ["tool_choice", { tools: [TOOL], tool_choice: allowed("auto", "x") }],
    ["tool_choice.allowed_tools.tools", { tools: [TOOL], tool_choice: allowed("auto") }],
    ["parallel_tool_calls", { tools: [TOOL], parallel_tool_calls: 1 }],
    ["functions", { tools: [TOOL], functions: [TOOL.function] }],
    ["functions", { functions: [] }],
    ["function_call", { functions: [TOOL.function], function_call: { name: "x" } }],
    ["function_call", { function_call: "auto" }],
    ["tools", { tools: [TOOL], use_beam_search: true }],
  ])("'%s' of %j is refused by name", (param, fields) => {
    expect(caught(() => decode(fields))).toMatchObject({ status: 400, param });
  });
});

describe("messages", () => {
  test("have calls and their results", () => {
    const messages = messagesOf(
      {
        role: "assistant",
        content: null,
        tool_calls: [
          { id: "c1", type: "function", function: { name: "f", arguments: '{"a": 1}' } },
          { id: "c2", function: { name: "g", arguments: "" } },
        ],
      },
      { role: "tool", tool_call_id: "c1", content: [{ type: "text", text: "7" }], name: "f" },
    );
    expect(messages).toEqual([
      {
        role: "assistant",
        content: "",
        toolCalls: [
          { id: "c1", name: "f", arguments: '{"a": 1}' },
          { id: "c2", name: "g", arguments: "{}" },
        ],
      },
      { role: "tool", toolCallId: "c1", content: "7", name: "f" },
    ]);
  });

  test("have the older form of calls", () => {
    expect(
      messagesOf(
        { role: "assistant", function_call: { name: "f", arguments: "{}" } },
        { role: "function", name: "f", content: "7" },
      ),
    ).toEqual([
      { role: "assistant", content: "", toolCalls: [{ id: "call_f", name: "f", arguments: "{}" }] },
      { role: "tool", name: "f", toolCallId: "call_f", content: "7" },
    ]);
  });

  test("have thoughts under either name", () => {
    const thought = { role: "assistant", content: "x", reasoning: "y" };
    expect(messagesOf({ role: "assistant", content: "x", reasoning_content: "y" }, thought)).toEqual([
      thought,
      thought,
    ]);
  });

  test.each<[string, object]>([
    ["messages.0.role", { role: "wizard", content: "x" }],
    ["messages.0.content", { role: "assistant", content: null }],
    ["messages.0.content", { role: "assistant", tool_calls: [] }],
    ["messages.0.content", { role: "tool", tool_call_id: "c" }],
    ["messages.0.tool_call_id", { role: "tool", content: "x" }],
    ["messages.0.name", { role: "function", content: "x" }],
    ["messages.0.tool_calls", { role: "assistant", tool_calls: {} }],
    ["messages.0.tool_calls.0.type", { role: "assistant", tool_calls: [{ type: "custom" }] }],
    ["messages.0.tool_calls.0.id", { role: "assistant", tool_calls: [{ function: { name: "f" } }] }],
    ["messages.0.tool_calls.0.function", { role: "assistant", tool_calls: [{ id: "c" }] }],
    [
      "messages.0.tool_calls.0.function.arguments",
      { role: "assistant", tool_calls: [{ id: "c", function: { name: "f", arguments: {} } }] },
    ],
    ["messages.0.reasoning", { role: "assistant", content: "x", reasoning: 1 }],
  ])("'%s' of %j is refused by name", (param, message) => {
    expect(caught(() => messagesOf(message))).toMatchObject({ status: 400, param });
  });
});

test("variables of the template", () => {
  const variables = (fields: object) => (promptOf(fields) as { templateArguments?: object }).templateArguments;
  expect(variables({})).toBeUndefined();
  expect(variables({ chat_template_kwargs: { enable_thinking: false } })).toEqual({ enable_thinking: false });
  expect(variables({ reasoning_effort: "high" })).toEqual({ reasoning_effort: "high" });
  expect(variables({ reasoning_effort: "none" })).toEqual({ reasoning_effort: "none", enable_thinking: false });
  expect(variables({ documents: [{ text: "x" }] })).toEqual({ documents: [{ text: "x" }] });
  for (const fields of [{ chat_template_kwargs: [] }, { reasoning_effort: 1 }, { documents: ["x"] }]) {
    const [param] = Object.keys(fields);
    expect(caught(() => promptOf(fields)).param).toMatch(new RegExp(`^${param}`));
  }
});
