/** What an origin's refusals and words become: the table of docs/origins.md, and nothing that must stay hidden. */
import { describe, expect, test } from "vitest";
import { hider } from "../../../src/edge/origins/hidden-text.ts";
import { refused, retryAfterMs } from "../../../src/edge/origins/origin-failure.ts";
import { upstreamErrorBody } from "../../../src/protocol/openai/upstream-error.ts";

const NOW_MS = 1_800_000_000_000;
const plain = (text: string) => text;

function verdict(status: number, body: unknown = { error: { message: "why" } }, retryAfter: string | null = null) {
  const { error, isRetryable, isFault, restMs } = refused(
    "gpu",
    { status, retryAfter, body: upstreamErrorBody(body) },
    NOW_MS,
    plain,
  );
  return { status: error.status, code: error.code, isRetryable, isFault, restMs };
}

describe("a refusal with status", () => {
  test.each([
    [400, { status: 400, code: null, isRetryable: false, isFault: false, restMs: 0 }],
    [413, { status: 413, code: null, isRetryable: false, isFault: false, restMs: 0 }],
    [401, { status: 502, code: "upstream_error", isRetryable: true, isFault: true, restMs: 0 }],
    [403, { status: 502, code: "upstream_error", isRetryable: true, isFault: true, restMs: 0 }],
    [404, { status: 502, code: "upstream_error", isRetryable: true, isFault: false, restMs: 0 }],
    [408, { status: 504, code: "upstream_timeout", isRetryable: true, isFault: true, restMs: 0 }],
    [429, { status: 429, code: "server_overloaded", isRetryable: true, isFault: false, restMs: 1000 }],
    [500, { status: 502, code: "upstream_error", isRetryable: false, isFault: true, restMs: 0 }],
    [502, { status: 502, code: "upstream_error", isRetryable: true, isFault: true, restMs: 0 }],
    [503, { status: 503, code: "model_unavailable", isRetryable: true, isFault: true, restMs: 0 }],
    [504, { status: 504, code: "upstream_timeout", isRetryable: true, isFault: true, restMs: 0 }],
    [302, { status: 502, code: "upstream_error", isRetryable: true, isFault: true, restMs: 0 }],
    [522, { status: 502, code: "upstream_error", isRetryable: true, isFault: true, restMs: 0 }],
  ])("%i", (status, wanted) => {
    expect(verdict(status)).toEqual(wanted);
  });
});

test("the client's own mistake keeps the origin's words, param and code, but not a status as a code", () => {
  const body = upstreamErrorBody({ error: { message: "top_k must be positive", param: "top_k", code: 400 } });
  const { error } = refused("gpu", { status: 400, retryAfter: null, body }, NOW_MS, plain);
  expect(error).toMatchObject({ status: 400, type: "invalid_request_error", code: null, param: "top_k" });
  expect(error.message).toBe("top_k must be positive");
});

test("a prompt that is too long is told in the way that clients look for", () => {
  const body = { error: { code: 400, message: "request (9 tokens) exceeds the available context size", type: "x" } };
  expect(verdict(400, body)).toMatchObject({ status: 400, code: "context_length_exceeded" });
});

test.each([
  ["2", 2000],
  ["0.5", 500],
  ["-3", 0],
  ["7200", 60_000],
  [new Date(NOW_MS + 4000).toUTCString(), 4000],
  [new Date(NOW_MS - 4000).toUTCString(), 0],
  ["soon", null],
  ["", null],
  [null, null],
])("Retry-After %j is %j ms", (value, ms) => {
  expect(retryAfterMs(value, NOW_MS)).toBe(ms);
});

describe("hides", () => {
  const hide = hider(["s3cr3t-key", "https://gpu.example.com/v1", "gpu.example.com:8000", "gpu.example.com", ""]);

  test.each([
    ["the key", "bad key s3cr3t-key given", "bad key [hidden] given"],
    ["the host", "gpu.example.com:8000 is down", "[hidden] is down"],
    ["its own URL", "at https://gpu.example.com/v1/chat", "at [hidden]/chat"],
    ["another URL", "via http://10.1.2.3:9000/x?k=v, then", "via [hidden] then"],
    ["an address", "dial tcp 10.1.2.3:443: refused", "dial tcp [hidden]: refused"],
    ["another key", "Incorrect API key provided: sk-abc123def", "Incorrect API key provided: [hidden]"],
    ["a key by its name", "api_key=abcdef is wrong", "[hidden] is wrong"],
    ["a token", "Authorization: Bearer eyJhbGciOi.x.y", "Authorization: [hidden]"],
    ["line breaks", "one\ntwo\u001b[31m", "one two [31m"],
  ])("%s", (_name, text, shown) => {
    expect(hide(text)).toBe(shown);
  });

  test("what is too long", () => {
    expect(hide("x".repeat(9000)).length).toBeLessThan(600);
  });
});
