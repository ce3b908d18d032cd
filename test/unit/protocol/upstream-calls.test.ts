/** Calls of tools in the streams of other servers, with the faults that they have. */
import { describe, expect, test } from "vitest";
import { AnswerCollector } from "../../../src/protocol/answer.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { UpstreamStreamError } from "../../../src/protocol/openai/upstream-error.ts";
import { UpstreamEvents } from "../../../src/protocol/openai/upstream-events.ts";

let numIds = 0;

function answerOf(chunks: readonly object[], callsReason: "stop" | "tool_calls" = "tool_calls") {
  numIds = 0;
  const upstream = new UpstreamEvents({
    model: "mine",
    numChoices: 1,
    wantsLogprobs: true,
    echoed: null,
    callsReason,
    newCallId: () => `made-up-${numIds++}`,
    nowMs: () => 0,
  });
  const events: GenerateEvent[] = chunks.flatMap((chunk) => upstream.pushChunk(chunk));
  const collector = new AnswerCollector(1);
  for (const event of [...events, ...upstream.end()]) collector.add(event);
  return collector.answer();
}

const calls = (...tool_calls: object[]) => ({ choices: [{ index: 0, delta: { tool_calls } }] });
const end = (finish_reason: string) => ({ choices: [{ index: 0, delta: {}, finish_reason }] });
const named = (index: number | undefined, id: string | null | undefined, more: object = {}) => ({
  ...(index !== undefined && { index }),
  ...(id !== undefined && { id }),
  type: "function",
  function: { name: "f", arguments: "", ...more },
});
const piece = (index: number | undefined, text: string, more: object = {}) => ({
  ...(index !== undefined && { index }),
  ...more,
  function: { arguments: text },
});

const ONE = [{ id: "c1", name: "f", arguments: '{"a": 1}' }];
const TWO = [...ONE, { id: "c2", name: "f", arguments: "{}" }];

describe("reads", () => {
  test.each<[string, object[], object[], string?]>([
    ["the canonical order", [calls(named(0, "c1")), calls(piece(0, '{"a"')), calls(piece(0, ": 1}"))], ONE],
    ["no index", [calls(named(undefined, "c1")), calls(piece(undefined, '{"a": 1}'))], ONE],
    ["no type", [calls({ index: 0, id: "c1", function: { name: "f", arguments: '{"a": 1}' } })], ONE],
    ["no id", [calls(named(0, undefined)), calls(piece(0, "{}"))], [{ id: "made-up-0", name: "f", arguments: "{}" }]],
    [
      "id and name in every piece",
      [
        calls(named(0, "c1")),
        calls(named(0, "c1", { arguments: '{"a"' })),
        calls(named(0, "c1", { arguments: ": 1}" })),
      ],
      ONE,
    ],
    [
      "id and name empty or null in later pieces",
      [
        calls(named(0, "c1")),
        calls({ index: 0, id: "", type: null, function: { name: null, arguments: '{"a"' } }),
        calls({ index: 0, id: null, function: { name: "", arguments: ": 1}" } }),
      ],
      ONE,
    ],
    ["a call in one chunk, with its end", [calls(named(0, "c1", { arguments: '{"a": 1}' }))], ONE],
    [
      "two calls in one chunk",
      [calls(named(0, "c1", { arguments: '{"a": 1}' }), named(1, "c2", { arguments: "{}" }))],
      TWO,
    ],
    [
      "two calls without index",
      [calls(named(undefined, "c1", { arguments: '{"a": 1}' }), named(undefined, "c2", { arguments: "{}" }))],
      TWO,
    ],
    [
      "the same index for each call",
      [calls(named(0, "c1", { arguments: '{"a": 1}' })), calls(named(0, "c2", { arguments: "{}" }))],
      TWO,
    ],
    [
      "indexes that begin at one",
      [calls(named(1, "c1")), calls(piece(1, '{"a": 1}')), calls(named(2, "c2")), calls(piece(2, "{}"))],
      TWO,
    ],
    ["arguments as an object", [calls(named(0, "c1", { arguments: { a: 1 } }))], [{ ...ONE[0], arguments: '{"a":1}' }]],
    ["stop in the place of tool_calls", [calls(named(0, "c1", { arguments: '{"a": 1}' }))], ONE, "stop"],
    [
      "the older form",
      [
        { choices: [{ delta: { function_call: { name: "f", arguments: "{" } } }] },
        { choices: [{ delta: { function_call: { arguments: "}" } } }] },
      ],
      [{ id: "made-up-0", name: "f", arguments: "{}" }],
      "function_call",
    ],
  ])("%s", (_name, chunks, expected, reason = "tool_calls") => {
    const [choice] = answerOf([...chunks, end(reason)]).choices;
    expect(choice!.toolCalls).toEqual(expected);
    expect(choice!.reason).toBe("tool_calls");
  });

  test("a whole answer in one body", () => {
    const message = {
      role: "assistant",
      content: null,
      tool_calls: [named(undefined, "c1", { arguments: '{"a": 1}' })],
    };
    const [choice] = answerOf([{ choices: [{ index: 0, message, finish_reason: "tool_calls" }] }]).choices;
    expect(choice).toMatchObject({ toolCalls: ONE, reason: "tool_calls", text: "" });
  });

  test("Workers AI's own shape", () => {
    const call = { name: "f", arguments: { a: 1 } };
    const [choice] = answerOf([{ response: "Hi", tool_calls: [call] }, end("stop")]).choices;
    expect(choice).toMatchObject({
      text: "Hi",
      reason: "tool_calls",
      toolCalls: [{ name: "f", arguments: '{"a":1}' }],
    });
  });

  test("thoughts under either name, or under both, and how many tokens they are", () => {
    const chunks = [
      { choices: [{ delta: { reasoning: "a", reasoning_content: "a" } }] },
      { choices: [{ delta: { reasoning: "b" } }] },
      { choices: [{ delta: { reasoning_content: "c", content: "d" } }] },
      { ...end("stop"), usage: { completion_tokens: 4, completion_tokens_details: { reasoning_tokens: 3 } } },
    ];
    const { choices, usage } = answerOf(chunks);
    expect(choices[0]).toMatchObject({ reasoning: "abc", text: "d", reason: "stop" });
    expect(usage).toMatchObject({ completionTokens: 4, reasoningTokens: 3 });
  });
});

test("with a named tool an answer ends with stop, whatever the server says", () => {
  for (const reason of ["stop", "tool_calls"]) {
    expect(answerOf([calls(named(0, "c1")), end(reason)], "stop").choices[0]!.reason).toBe("stop");
  }
  expect(answerOf([calls(named(0, "c1")), end("length")], "stop").choices[0]!.reason).toBe("length");
  expect(answerOf([end("tool_calls")]).choices[0]!.reason).toBe("stop");
});

test("what cannot be told in order is an error of the server's", () => {
  const interleaved = [calls(named(0, "c1")), calls(named(1, "c2")), calls(piece(0, "{}"))];
  expect(() => answerOf(interleaved)).toThrow(UpstreamStreamError);
  expect(() => answerOf([calls(piece(0, "{}"))])).toThrow("a call that has no name");
});
