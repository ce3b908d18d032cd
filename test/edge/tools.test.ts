/**
 * Tools and bound answers through the whole stack, on a model without any idea: what it says is valid because it may say
 * nothing else. Its chat template knows no tools, so the system message tells of them.
 */
import { beforeAll, describe, expect, test } from "vitest";
import { addTinyModel, chunksOf, createSession, errorOf, post } from "./stack.ts";

const MODEL = "tools-tiny";
const CHATS = "/v1/chat/completions";

const WEATHER = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a city.",
    strict: true,
    parameters: {
      type: "object",
      properties: { city: { enum: ["Paris", "Rome"] }, days: { type: "integer", minimum: 1, maximum: 7 } },
      required: ["city", "days"],
      additionalProperties: false,
    },
  },
};
const CLOCK = {
  type: "function",
  function: { name: "clock", parameters: { type: "object", properties: {}, additionalProperties: false } },
};

interface Call {
  id: string;
  type: string;
  function: { name: string; arguments: string };
}
interface Message {
  content: string | null;
  tool_calls?: Call[];
}
interface Completion {
  choices: { message: Message; finish_reason: string }[];
}

const asking = (more: object) => ({
  model: MODEL,
  messages: [{ role: "user", content: "Weather?" }],
  max_tokens: 400,
  temperature: 1,
  ...more,
});

async function completion(body: object): Promise<Completion["choices"][0]> {
  const response = await post(CHATS, asking(body));
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return ((await response.json()) as Completion).choices[0]!;
}

/** The deltas of a stream put together. */
async function streamed(body: object): Promise<Completion["choices"][0]> {
  const message: Message = { content: null };
  let finish_reason = "";
  for await (const chunk of chunksOf(await post(CHATS, asking({ ...body, stream: true })))) {
    const choice = chunk.choices[0]!;
    const delta = choice.delta as { content?: string; tool_calls?: (Partial<Call> & { index: number })[] };
    if (delta.content) message.content = (message.content ?? "") + delta.content;
    for (const { index, ...call } of delta.tool_calls ?? []) {
      message.tool_calls ??= [];
      if (index === message.tool_calls.length) message.tool_calls.push(structuredClone(call) as Call);
      else message.tool_calls[index]!.function.arguments += call.function!.arguments;
    }
    finish_reason = choice.finish_reason ?? finish_reason;
  }
  return { message, finish_reason };
}

function expectValid({ function: { name, arguments: json } }: Call): void {
  const value = JSON.parse(json);
  if (name === "clock") {
    expect(value).toEqual({});
    return;
  }
  expect(name).toBe("get_weather");
  expect(Object.keys(value)).toEqual(["city", "days"]);
  expect(["Paris", "Rome"]).toContain(value.city);
  expect([1, 2, 3, 4, 5, 6, 7]).toContain(value.days);
}

beforeAll(async () => {
  await addTinyModel(MODEL, { contextLength: 4096 });
});

describe("a call that must be made", () => {
  test("is valid whatever is drawn, and streamed it is the same", async () => {
    for (const seed of [1, 2, 3]) {
      const body = { tools: [WEATHER, CLOCK], tool_choice: "required", parallel_tool_calls: false, seed };
      const { message, finish_reason } = await completion(body);
      expect(finish_reason).toBe("tool_calls");
      expect(message.content).toBeNull();
      expect(message.tool_calls).toHaveLength(1);
      const [call] = message.tool_calls!;
      expect(call).toMatchObject({ id: expect.stringMatching(/^call_\w{24}$/), type: "function" });
      expectValid(call!);
      const other = await streamed(body);
      expect(other.finish_reason).toBe("tool_calls");
      expect(other.message.tool_calls!.map((one) => one.function)).toEqual([call!.function]);
    }
  });

  test("may be one of several", async () => {
    const body = { tools: [WEATHER, CLOCK], tool_choice: "required" };
    const answers = await Promise.all([1, 2, 3, 4, 5, 6].map((seed) => completion({ ...body, seed })));
    const numCalls = answers.map(({ message }) => message.tool_calls!.length);
    for (const { message } of answers) {
      expect(new Set(message.tool_calls!.map(({ id }) => id)).size).toBe(message.tool_calls!.length);
    }
    expect(Math.max(...numCalls)).toBeGreaterThan(1);
    for (const { message, finish_reason } of answers) {
      if (finish_reason === "tool_calls") message.tool_calls!.forEach(expectValid);
    }
  });

  test("is the one that was named, and ends with stop as OpenAI's does", async () => {
    const tool_choice = { type: "function", function: { name: "clock" } };
    const { message, finish_reason } = await completion({ tools: [WEATHER, CLOCK], tool_choice, seed: 5 });
    expect(message.tool_calls!.map(({ function: made }) => made)).toEqual([{ name: "clock", arguments: "{}" }]);
    expect(finish_reason).toBe("stop");
  });
});

describe("a call that may be made", () => {
  test("is not, by a model that has no idea of it", async () => {
    const body = { tools: [WEATHER], max_tokens: 20, seed: 3, temperature: 0 };
    const { message, finish_reason } = await completion(body);
    expect(message.tool_calls).toBeUndefined();
    expect(message.content).not.toBe("");
    expect(finish_reason).toBe("length");
  });

  test("or a text that matches, where one must match", async () => {
    const response_format = { type: "json_schema", json_schema: { name: "n", schema: { enum: ["yes", "no"] } } };
    const answers = await Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8].map((seed) =>
        completion({ tools: [CLOCK], parallel_tool_calls: false, response_format, seed }),
      ),
    );
    for (const { message, finish_reason } of answers) {
      if (message.tool_calls === undefined) expect(['"yes"', '"no"']).toContain(message.content);
      else expectValid(message.tool_calls[0]!);
      expect(finish_reason).toBe(message.tool_calls === undefined ? "stop" : "tool_calls");
    }
  });
});

describe("an answer that must match", () => {
  test.each<[string, object, RegExp]>([
    [
      "a schema",
      { response_format: { type: "json_schema", json_schema: { name: "n", schema: WEATHER.function.parameters } } },
      /^\{"city": ?"(Paris|Rome)", ?"days": ?[1-7]\}$/,
    ],
    ["a choice", { structured_outputs: { choice: ["red", "blue"] } }, /^(red|blue)$/],
    ["a pattern", { guided_regex: "[ab]{3}-\\d" }, /^[ab]{3}-\d$/],
    ["a grammar", { grammar: 'root ::= "x" [yz] "x"' }, /^x[yz]x$/],
  ])("%s does, and ends there", async (_name, fields, pattern) => {
    for (const seed of [1, 2, 3]) {
      const { message, finish_reason } = await completion({ ...fields, seed });
      expect(message.content).toMatch(pattern);
      expect(finish_reason).toBe("stop");
    }
  });

  test("in a completion and in a session, too", async () => {
    const guided_choice = ["red", "blue"];
    const text = await post("/v1/completions", { model: MODEL, prompt: "A colour:", guided_choice, seed: 1 });
    expect((await text.json()) as object).toMatchObject({ choices: [{ text: expect.stringMatching(/^(red|blue)$/) }] });
    const { id } = await createSession(MODEL);
    const said = await post(`/v1/sessions/${id}/messages`, { content: "A colour?", guided_choice, seed: 1 });
    expect((await said.json()) as object).toMatchObject({
      choices: [{ message: { content: expect.stringMatching(/^(red|blue)$/) } }],
    });
  });
});

describe("is refused before the stream:", () => {
  const strict = (parameters: object) => ({ type: "function", function: { name: "f", strict: true, parameters } });
  test.each<[string, object, string]>([
    [
      "a strict tool that cannot be enforced",
      { tools: [strict({ type: "object", properties: { a: { not: { type: "string" } } } })] },
      "tools.0.function.parameters",
    ],
    [
      "a schema that cannot be",
      { response_format: { type: "json_schema", json_schema: { name: "n", schema: { not: {} } } } },
      "response_format",
    ],
    ["a pattern that is none", { guided_regex: "(" }, "structured_outputs"],
  ])("%s", async (_name, fields, param) => {
    const error = await errorOf(await post(CHATS, asking({ ...fields, stream: true })));
    expect(error.status).toBe(400);
    expect(error.param).toContain(param);
  });
});
