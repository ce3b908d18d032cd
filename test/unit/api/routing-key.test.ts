import { expect, test } from "vitest";
import { routingKeyOf } from "../../../src/api/routing-key.ts";
import { decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { decodeCompletionRequest } from "../../../src/protocol/openai/completion-request.ts";
import type { WireRequest } from "../../../src/protocol/wire-request.ts";

const keyOf = ({ generate, promptCacheKey }: WireRequest) => routingKeyOf(generate, promptCacheKey);
const chat = (messages: [string, string][], fields: object = {}) =>
  keyOf(
    decodeChatRequest({ model: "m", messages: messages.map(([role, content]) => ({ role, content })), ...fields }, "r"),
  );
const text = (prompt: unknown) => keyOf(decodeCompletionRequest({ model: "m", prompt }, "r"));

test("the client's own key wins", () => {
  expect(chat([["user", "a"]], { prompt_cache_key: "k" })).toBe(chat([["user", "b"]], { prompt_cache_key: "k" }));
});

test("all turns of a conversation meet", () => {
  const first: [string, string][] = [
    ["system", "s"],
    ["user", "a"],
  ];
  expect(chat([...first, ["assistant", "x"], ["user", "b"]])).toBe(chat(first));
});

test("conversations that begin differently are spread", () => {
  const keys = Array.from({ length: 50 }, (_, i) => chat([["user", `question ${i}`]]));
  expect(new Set(keys).size).toBe(50);
});

test("a long system message brings its conversations together", () => {
  const system = "x".repeat(2000);
  expect(
    chat([
      ["system", system],
      ["user", "a"],
    ]),
  ).toBe(
    chat([
      ["system", system],
      ["user", "b"],
    ]),
  );
});

test("other tenants, other roles, other kinds of prompt: other keys", () => {
  expect(chat([["user", "a"]], { cache_salt: "t" })).not.toBe(chat([["user", "a"]]));
  expect(chat([["system", "a"]])).not.toBe(chat([["user", "a"]]));
  expect(text("a")).toBe(text(["a", "b"]));
  expect(text([1, 2])).toBe(text([[1, 2]]));
  expect(text([1, 2])).not.toBe(text([2, 1]));
});

test("a huge prompt is looked at only at its beginning", () => {
  expect(text("y".repeat(500_000))).toBe(text("y".repeat(1024)));
});
