/** Bodies of POST /v1/responses: what they decode to, and how what is wrong is named. */
import { describe, expect, test } from "vitest";
import {
  newResponseAddress,
  parseItemId,
  parseResponseId,
  responseIdOf,
} from "../../../../src/protocol/responses/ids.ts";
import { messagesOf } from "../../../../src/protocol/responses/items.ts";
import { decodeResponseRequest } from "../../../../src/protocol/responses/request.ts";
import { caught } from "../caught.ts";
import { CONVERSATION, FRAME } from "./frames.ts";

const decode = (fields: object) => decodeResponseRequest({ model: "m", input: "Hi", ...fields }, "r");
const TOOL = { type: "function", name: "f" };
const input = (...items: unknown[]) => decode({ input: items }).items;

test("the smallest body asks for what OpenAI's defaults are", () => {
  const { generate, items, store, stream, truncates, previous, echo } = decode({});
  expect(items).toEqual([{ type: "message", role: "user", content: "Hi" }]);
  expect(generate).toMatchObject({ model: "m", n: 1, maxTokens: null, logprobs: null, sampling: { temperature: 1 } });
  expect({ store, stream, truncates, previous }).toEqual({
    store: null,
    stream: false,
    truncates: false,
    previous: null,
  });
  const { store: _, ...repeated } = FRAME.echo;
  expect(echo).toEqual(repeated);
});

test("fields mean what they mean in a chat, and are repeated in the response", () => {
  const { generate, echo, instructions, promptCacheKey } = decode({
    instructions: "Be brief.",
    max_output_tokens: 5,
    temperature: 0,
    top_p: 0.5,
    seed: 7,
    include: ["message.output_text.logprobs"],
    top_logprobs: 2,
    truncation: "auto",
    metadata: { a: "b" },
    prompt_cache_key: "k",
    reasoning: { effort: "low" },
    user: "u",
  });
  expect(generate).toMatchObject({ maxTokens: 5, logprobs: 2, sampling: { temperature: 0, topP: 0.5, seed: 7 } });
  expect(instructions).toBe("Be brief.");
  expect(promptCacheKey).toBe("k");
  expect(echo).toMatchObject({
    instructions: "Be brief.",
    max_output_tokens: 5,
    metadata: { a: "b" },
    truncation: "auto",
    reasoning: { effort: "low", summary: null },
    user: "u",
  });
});

test("a format of the text is a constraint of the answer", () => {
  const schema = { type: "object", properties: {} };
  const constraint = (fields: object) => decode(fields).generate.constraint;
  expect(constraint({})).toBeNull();
  expect(constraint({ text: { format: { type: "text" }, verbosity: "low" } })).toBeNull();
  expect(constraint({ text: { format: { type: "json_object" } } })).toEqual({ kind: "json" });
  const format = { type: "json_schema", name: "n", schema, strict: true };
  expect(constraint({ text: { format } })).toEqual({ kind: "schema", schema });
  expect(decode({ text: { format } }).echo.text).toEqual({ format });
  expect(constraint({ guided_regex: "a+" })).toEqual({ kind: "regex", pattern: "a+" });
  expect(caught(() => decode({ text: { format }, guided_regex: "a+" }))).toMatchObject({ param: "text.format" });
});

describe("items", () => {
  test("of every kind that has a meaning here", () => {
    const items = input(
      { role: "developer", content: "Be brief." },
      {
        type: "message",
        role: "user",
        content: [
          { type: "input_text", text: "a" },
          { type: "input_text", text: "b" },
        ],
      },
      { type: "reasoning", id: "rs_1", summary: [] },
      {
        type: "message",
        id: "msg_1",
        status: "completed",
        role: "assistant",
        content: [
          { type: "output_text", text: "c", annotations: [] },
          { type: "refusal", refusal: "no" },
        ],
      },
      { type: "function_call", id: "fc_1", call_id: "call_1", name: "f", arguments: "{}", status: "completed" },
      { type: "function_call", call_id: "call_2", name: "g", arguments: "{}" },
      { type: "function_call_output", call_id: "call_1", output: "1" },
      { type: "function_call_output", call_id: "call_2", output: [{ type: "input_text", text: "2" }] },
    );
    expect(
      messagesOf(
        "First.",
        items.filter((item) => item.type !== "item_reference"),
      ),
    ).toEqual([
      { role: "system", content: "First." },
      { role: "system", content: "Be brief." },
      { role: "user", content: "a\nb" },
      {
        role: "assistant",
        content: "c\nno",
        toolCalls: [
          { id: "call_1", name: "f", arguments: "{}" },
          { id: "call_2", name: "g", arguments: "{}" },
        ],
      },
      { role: "tool", content: "1", toolCallId: "call_1" },
      { role: "tool", content: "2", toolCallId: "call_2" },
    ]);
  });

  test("tools, flat, and which of them may be called", () => {
    const tools = [
      { type: "function", name: "f", description: "F.", parameters: { type: "object" }, strict: true },
      { type: "function", name: "g", parameters: null, strict: null },
    ];
    const both = decode({ tools, parallel_tool_calls: false });
    expect(both.generate).toMatchObject({ toolChoice: "auto", parallelToolCalls: false });
    expect(both.extras.tools).toEqual([
      { name: "f", description: "F.", parameters: { type: "object" }, strict: true },
      { name: "g", description: "", parameters: null, strict: false },
    ]);
    expect(both.echo).toMatchObject({ tool_choice: "auto", parallel_tool_calls: false, tools: [{ name: "f" }, {}] });
    const named = decode({ tools, tool_choice: { type: "function", name: "g" } });
    expect(named.generate.toolChoice).toEqual({ name: "g" });
    const some = { type: "allowed_tools", mode: "required", tools: [{ type: "function", name: "g" }] };
    const allowed = decode({ tools, tool_choice: some });
    expect(allowed.generate.toolChoice).toBe("required");
    expect(allowed.extras.tools!.map(({ name }) => name)).toEqual(["g"]);
    expect(decode({ tools, tool_choice: "none" }).extras).toEqual({});
    expect(decode({ reasoning: { effort: "low" } }).extras).toEqual({ templateArguments: { reasoning_effort: "low" } });
  });

  test("references, with and without their type", () => {
    expect(input({ type: "item_reference", id: "msg_1" }, { id: "msg_2" })).toEqual([
      { type: "item_reference", id: "msg_1" },
      { type: "item_reference", id: "msg_2" },
    ]);
  });

  test("a call without words before it is a message of its own", () => {
    const items = input(
      { role: "user", content: "a" },
      { type: "function_call", call_id: "c", name: "f", arguments: "{}" },
    );
    expect(messagesOf(null, items as Parameters<typeof messagesOf>[1])[1]).toEqual({
      role: "assistant",
      content: "",
      toolCalls: [{ id: "c", name: "f", arguments: "{}" }],
    });
  });

  test("a result needs its call", () => {
    const items = input({ type: "function_call_output", call_id: "c", output: "" });
    expect(caught(() => messagesOf(null, items as Parameters<typeof messagesOf>[1]))).toMatchObject({
      status: 400,
      param: "input",
      message: expect.stringContaining('function_call_output for "c"'),
    });
  });
});

describe("what is wrong is named", () => {
  test.each<[string, object, string]>([
    ["no input", { input: undefined }, "input"],
    ["no items", { input: [] }, "input"],
    ["a number", { input: 7 }, "input"],
    ["an item that is no object", { input: ["x"] }, "input.0"],
    ["a kind of item", { input: [{ type: "web_search_call", id: "x" }] }, "input.0.type"],
    ["a role", { input: [{ role: "tool", content: "x" }] }, "input.0.role"],
    [
      "a picture",
      { input: [{ role: "user", content: [{ type: "input_image", image_url: "x" }] }] },
      "input.0.content.0",
    ],
    ["a part without text", { input: [{ role: "user", content: [{ type: "input_text" }] }] }, "input.0.content.0.text"],
    ["a call without a name", { input: [{ type: "function_call", call_id: "c", arguments: "" }] }, "input.0.name"],
    ["a reference without an id", { input: [{ type: "item_reference" }] }, "input.0.id"],
    ["an id of somebody else's", { previous_response_id: "resp_abc" }, "previous_response_id"],
    ["the background", { background: true }, "background"],
    ["a conversation", { conversation: "conv_1" }, "conversation"],
    ["a prompt template", { prompt: { id: "pmpt_1" } }, "prompt"],
    ["metadata that is no text", { metadata: { a: 1 } }, "metadata.a"],
    ["n", { n: 2 }, "n"],
    ["a hosted tool", { tools: [{ type: "web_search" }] }, "tools.0.type"],
    ["a tool without a name", { tools: [{ type: "function" }] }, "tools.0.name"],
    ["a tool twice", { tools: [TOOL, TOOL] }, "tools.1.name"],
    ["a choice without tools", { tool_choice: "required" }, "tool_choice"],
    ["a choice of another tool", { tools: [TOOL], tool_choice: { type: "function", name: "g" } }, "tool_choice"],
  ])("%s", (_name, fields, param) => {
    expect(caught(() => decode(fields))).toMatchObject({ status: 400, param });
  });
});

test("ids lead to their conversation and response, and nothing else is taken for one", () => {
  const address = newResponseAddress(null, () => "0123456789abcdef0123456789abcdef");
  expect(address).toEqual({ conversation: "0123456789abcdef0123456789abcdef", response: "0123456789abcdef" });
  expect(parseResponseId(responseIdOf(address))).toEqual(address);
  expect(newResponseAddress(CONVERSATION, () => "x".repeat(32)).conversation).toBe(CONVERSATION);
  expect(parseItemId(`msg_${CONVERSATION}_${"r".repeat(16)}_12`)).toEqual({
    conversation: CONVERSATION,
    response: "r".repeat(16),
  });
  for (const id of ["", "resp_1", `resp_${CONVERSATION}`, `${FRAME.id}x`, `${FRAME.id}\n`, `msg_${FRAME.id}_0`]) {
    expect(parseResponseId(id)).toBeNull();
    expect(parseItemId(id)).toBeNull();
  }
});
