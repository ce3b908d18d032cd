/**
 * Whole exchanges as they are on the wire, byte for byte, with headers: what clients depend on changes only where somebody
 * sees it. Every request and every answer is also what OpenAI's schemas describe.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { contextLengthExceeded, overloaded } from "../../../src/protocol/errors.ts";
import { completionChunkFault, RESPONSE_EVENTS, schemaFault } from "../../support/openai-schemas.ts";
import { call, json, reasoning } from "../protocol/answers.ts";
import { delta, done, fault, finish, start, token } from "../protocol/events.ts";
import { readResponseSse } from "../protocol/responses/frames.ts";
import { readSse } from "../protocol/sse-reader.ts";
import { CHAT, type Host, ORIGIN, type Step, scriptedHost } from "./scripted-host.ts";

let host: Host;
beforeEach(() => {
  host = scriptedHost();
});

const PARAMETERS = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const CHAT_TOOLS = [{ type: "function", function: { name: "weather", parameters: PARAMETERS } }];
const RESPONSE_TOOLS = [{ type: "function", name: "weather", parameters: PARAMETERS, strict: false }];
const STREAM = { stream: true };
const USAGE = { stream: true, stream_options: { include_usage: true } };
const RESPONSE = { model: "org/demo", input: "Hi" };
const COMPLETION = { model: "org/demo", prompt: "Hi" };

const CALLS = [
  start(),
  reasoning("Hm."),
  call(0, "weather"),
  json(0, '{"city":'),
  json(0, '"Bern"}'),
  call(1, "weather"),
  json(1, '{"city":"Rome"}'),
  finish(0, "tool_calls"),
  done(),
];
const LOGPROBS = [start(), delta("Hé", 0, [token("Hé", -0.25, [["Ha", -1.5]])]), finish(0, "length"), done()];
const BROKEN = [start(), delta("Hel"), fault()];

interface Exchange {
  name: string;
  path: string;
  body: object;
  script?: Step[] | Error;
}

const EXCHANGES: Exchange[] = [
  { name: "chat", path: "/v1/chat/completions", body: CHAT },
  { name: "chat-stream", path: "/v1/chat/completions", body: { ...CHAT, ...STREAM } },
  { name: "chat-stream-usage", path: "/v1/chat/completions", body: { ...CHAT, ...USAGE } },
  { name: "chat-logprobs", path: "/v1/chat/completions", body: { ...CHAT, logprobs: true }, script: LOGPROBS },
  { name: "chat-calls", path: "/v1/chat/completions", body: { ...CHAT, tools: CHAT_TOOLS }, script: CALLS },
  {
    name: "chat-calls-stream",
    path: "/v1/chat/completions",
    body: { ...CHAT, ...USAGE, tools: CHAT_TOOLS },
    script: CALLS,
  },
  { name: "chat-broken-stream", path: "/v1/chat/completions", body: { ...CHAT, ...STREAM }, script: BROKEN },
  {
    name: "chat-too-long",
    path: "/v1/chat/completions",
    body: CHAT,
    script: contextLengthExceeded(600, 5, 512),
  },
  { name: "chat-busy", path: "/v1/chat/completions", body: { ...CHAT, ...STREAM }, script: overloaded(9, 8) },
  { name: "completion", path: "/v1/completions", body: COMPLETION },
  { name: "completion-stream", path: "/v1/completions", body: { ...COMPLETION, ...USAGE } },
  { name: "response", path: "/v1/responses", body: RESPONSE },
  { name: "response-stream", path: "/v1/responses", body: { ...RESPONSE, ...STREAM } },
  {
    name: "response-calls-stream",
    path: "/v1/responses",
    body: { ...RESPONSE, ...STREAM, tools: RESPONSE_TOOLS },
    script: CALLS,
  },
  { name: "response-broken-stream", path: "/v1/responses", body: { ...RESPONSE, ...STREAM }, script: BROKEN },
];

const SCHEMAS: Record<string, { request: string; whole: string }> = {
  "/v1/chat/completions": { request: "CreateChatCompletionRequest", whole: "CreateChatCompletionResponse" },
  "/v1/completions": { request: "CreateCompletionRequest", whole: "CreateCompletionResponse" },
  "/v1/responses": { request: "CreateResponse", whole: "Response" },
};

describe.each(EXCHANGES)("$name", ({ name, path, body, script }) => {
  test("is as it was recorded, and as OpenAI's schemas say", async () => {
    if (script !== undefined) host.models.script = script;
    const response = await host.post(path, body);
    const text = await response.text();
    const headers = [...response.headers].map(([key, value]) => `${key}: ${value}`).join("\n");
    const recorded = `POST ${path}\n${JSON.stringify(body)}\n\n${response.status}\n${headers}\n\n${text}\n`;
    await expect(recorded).toMatchFileSnapshot(`recorded/${name}.http`);
    expect(schemaFault(SCHEMAS[path]!.request, body)).toBeNull();
    expect(faultsOf(path, response, text)).toEqual([]);
  });
});

function faultsOf(path: string, response: Response, text: string): string[] {
  const faults = (all: (string | null)[]) => all.filter((one) => one !== null);
  if (!response.ok) return faults([schemaFault("ErrorResponse", JSON.parse(text))]);
  if (response.headers.get("content-type")?.startsWith("application/json")) {
    return faults([schemaFault(SCHEMAS[path]!.whole, JSON.parse(text))]);
  }
  if (path === "/v1/responses") {
    return faults(readResponseSse(text).map((event) => schemaFault(RESPONSE_EVENTS[event.type]!, event)));
  }
  const { chunks, error } = readSse(text);
  const chunkFault = (chunk: (typeof chunks)[number]) =>
    path === "/v1/completions" ? completionChunkFault(chunk) : schemaFault("CreateChatCompletionStreamResponse", chunk);
  return faults([...chunks.map(chunkFault), error === null ? null : schemaFault("ErrorResponse", { error })]);
}

test("the list of models is as it was recorded, and as OpenAI's schemas say", async () => {
  const list = await (await host.app.request(`${ORIGIN}/v1/models`)).text();
  const one = await (await host.app.request(`${ORIGIN}/v1/models/org/demo`)).text();
  await expect(`${list}\n${one}\n`).toMatchFileSnapshot("recorded/models.http");
  expect(schemaFault("ListModelsResponse", JSON.parse(list))).toBeNull();
  expect(schemaFault("Model", JSON.parse(one))).toBeNull();
});
