/**
 * Workers AI by its binding. The platform's own runs nowhere but on the platform, so this binding forwards to a real
 * server, and gives what the platform is known to give.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { systemClock } from "../../../src/api/clock.ts";
import { parseOrigins } from "../../../src/edge/origins/config.ts";
import { modelsOf, Origin } from "../../../src/edge/origins/origin.ts";
import { OriginGeneration } from "../../../src/edge/origins/origin-generation.ts";
import { type WorkersAi, workersAiUpstream } from "../../../src/edge/origins/workers-ai.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { type UpstreamServer, upstreamServer, usualPieces } from "../../support/upstream-server.ts";

let server: UpstreamServer;
beforeAll(async () => {
  server = await upstreamServer();
});
afterAll(() => server.close());
beforeEach(() => {
  server.script("ai");
  server.calls("ai").length = 0;
});

/** @param fault what it throws instead */
const binding = (fault: string | null = null): WorkersAi => ({
  run(model, inputs, { signal }) {
    if (fault !== null) throw new Error(fault);
    const url = `${server.url}/ai/v1/chat/completions`;
    return fetch(url, { method: "POST", body: JSON.stringify({ model, ...inputs }), signal });
  },
});

async function answer(ai: WorkersAi, fields: object = {}): Promise<string> {
  const config = { name: "cloud", kind: "workers-ai", models: [{ id: "big", upstream: "@cf/meta/big" }] };
  const [model] = modelsOf(parseOrigins([config]).map((one) => new Origin(one, systemClock)));
  const body = { model: "big", messages: [{ role: "user", content: "hello" }], ...fields };
  const { generate: request } = decodeChatRequest(body, "r1");
  const upstream = workersAiUpstream(ai);
  const host = { upstreamOf: () => upstream, clock: systemClock, log: () => {}, background: () => {} };
  const generation = new OriginGeneration(host, { model: model!, request, affinityKey: "k", answerSoFar: null });
  await generation.open();
  const all: GenerateEvent[] = [];
  for (let events = await generation.nextEvents(); events.length > 0; events = await generation.nextEvents()) {
    all.push(...events);
  }
  return all.map((event) => (event.type === "delta" ? event.text : "")).join("");
}

test("is asked by the model's name there, and for more than its 256 tokens", async () => {
  expect(await answer(binding(), { max_tokens: 9 })).toBe(usualPieces("hello", 9).join(""));
  await answer(binding());
  expect(server.calls("ai").map(({ body }) => [body!.model, body!.max_tokens, "stream_options" in body!])).toEqual([
    ["@cf/meta/big", 9, false],
    ["@cf/meta/big", 2048, false],
  ]);
});

test.each([
  [
    "its own stream",
    'data: {"response":"Hi"}\n\ndata: {"response":" you","p":"ab"}\n\ndata: [DONE]\n\n',
    "text/event-stream",
  ],
  [
    "a whole answer of its own shape",
    '{"choices":[{"message":{"content":"Hi you"},"finish_reason":"stop"}]}',
    "application/json",
  ],
])("gives %s", async (_name, body, type) => {
  server.script("ai", { body, headers: { "content-type": type } });
  expect(await answer(binding())).toBe("Hi you");
});

describe("what it throws is a refusal like any other", () => {
  test.each([
    ["InferenceUpstreamError: 3040: Capacity temporarily exceeded, please try again.", 429, "server_overloaded"],
    ["5007: No such model @cf/meta/big or task", 502, "upstream_error"],
    ["AiError: something at https://internal.example/x", 502, "upstream_error"],
  ])("%s", async (fault, status, code) => {
    const error = await answer(binding(fault)).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ status, code });
    expect((error as Error).message).not.toContain("internal.example");
  });
});

test.each([
  ["n", { n: 2 }],
  ["logprobs", { logprobs: true }],
  ["stop", { stop: "." }],
  ["min_p", { min_p: 0.1 }],
  ["logit_bias", { logit_bias: { 5: 1 } }],
])("'%s' is refused and not ignored", async (param, fields) => {
  const error = await answer(binding(), fields).catch((cause: unknown) => cause);
  expect(error).toMatchObject({ status: 400, code: "unsupported_parameter", param });
  expect(server.calls("ai")).toHaveLength(0);
});
