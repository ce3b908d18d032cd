import { expect, test } from "vitest";
import {
  decodeSessionInit,
  decodeSessionMessage,
  isOwnerId,
  isSessionId,
  sessionBody,
  sessionListBody,
} from "../../../src/protocol/sessions.ts";
import { caught } from "./caught.ts";

test("a session may begin with nothing", () => {
  const nothing = { model: null, system: null, title: null };
  expect(decodeSessionInit({})).toEqual(nothing);
  expect(decodeSessionInit({ model: null, system: null, title: null, other: 1 })).toEqual(nothing);
  expect(decodeSessionInit({ model: "m", system: "s", title: "t" })).toEqual({ model: "m", system: "s", title: "t" });
});

test.each([
  [{ model: 5 }, "model"],
  [{ model: "" }, "model"],
  [{ system: ["x"] }, "system"],
  [{ title: {} }, "title"],
  [[], null],
])("the beginning %j is a 400", (body, param) => {
  expect(caught(() => decodeSessionInit(body))).toMatchObject({ status: 400, param });
});

test("a message is content and sampling fields", () => {
  const { content, generate, style } = decodeSessionMessage(
    { content: [{ type: "text", text: "hi" }], stream: true, temperature: 0, logprobs: true, n: 1 },
    "r1",
  );
  expect(content).toBe("hi");
  expect(style).toEqual({ stream: true, includeUsage: false });
  expect(generate).toMatchObject({ requestId: "r1", sampling: { temperature: 0 }, logprobs: 0, maxTokens: null });
  for (const field of ["prompts", "model", "n", "echo"]) expect(generate).not.toHaveProperty(field);
});

test.each([
  [{}, "content", "is required"],
  [{ content: null }, "content", "is null"],
  [{ content: 5 }, "content", "a string or a list"],
  [{ content: [{ type: "image_url" }] }, "content.0", "image_url"],
  [{ content: "x", n: 2 }, "n", "not supported"],
  [{ content: "x", tools: [] }, "tools", "not supported"],
])("the message %j is a 400", (body, param, words) => {
  const error = caught(() => decodeSessionMessage(body, "r1"));
  expect(error).toMatchObject({ status: 400, param });
  expect(error.message).toContain(words);
});

test.each([
  ["0123456789abcdef0123456789abcdef", true],
  ["123e4567-e89b-42d3-a456-426614174000", true],
  ["1".repeat(22), true],
  ["1".repeat(21), false],
  ["1".repeat(65), false],
  ["../../../../../../etc/passwd", false],
  ["0123456789abcdef0123456789abcdeé", false],
  ["", false],
])("%s is an id of a session: %s", (id, wanted) => {
  expect(isSessionId(id)).toBe(wanted);
  expect(isOwnerId(id)).toBe(wanted || id.length === 65);
});

const SESSION = {
  id: "s1",
  title: "T",
  model: "m",
  createdAtMs: 1_700_000_000_999,
  updatedAtMs: 1_700_000_001_000,
  numMessages: 1,
};

test("bodies count time in seconds", () => {
  const summary = {
    id: "s1",
    object: "session",
    title: "T",
    model: "m",
    created_at: 1_700_000_000,
    updated_at: 1_700_000_001,
    num_messages: 1,
  };
  const message = { id: 1, role: "user" as const, content: "hi", createdAtMs: 1_700_000_000_000, finishReason: null };
  expect(sessionListBody([SESSION])).toEqual({ object: "list", data: [summary] });
  expect(sessionBody({ ...SESSION, busy: true, numTruncated: 2, messages: [message] })).toEqual({
    ...summary,
    busy: true,
    truncated_messages: 2,
    messages: [{ id: 1, role: "user", content: "hi", created_at: 1_700_000_000, finish_reason: null }],
  });
});
