/** POST /v1/responses by the real `openai` client, against routes whose models are scripts and whose memory is a map. */
import OpenAI, { APIError, BadRequestError, NotFoundError } from "openai";
import { beforeEach, describe, expect, test } from "vitest";
import { contextLengthExceeded } from "../../../src/protocol/errors.ts";
import type { ChatMessage } from "../../../src/protocol/generate.ts";
import { REFERENCED_CONVERSATIONS_MAX, RESPONSE_INPUT_BYTES_MAX } from "../../../src/protocol/limits.ts";
import { answer, delta, done, fault, finish, start } from "../protocol/events.ts";
import { errorOf, type Host, ORIGIN, scriptedHost } from "./scripted-host.ts";

const MODEL = "org/demo";

let host: Host;
let client: OpenAI;
beforeEach(() => {
  host = scriptedHost();
  client = clientOf(host);
});

function clientOf({ app }: Host): OpenAI {
  const fetch = async (url: unknown, init: unknown) => app.fetch(new Request(url as string, init as RequestInit));
  return new OpenAI({ apiKey: "any", baseURL: `${ORIGIN}/v1`, fetch, maxRetries: 0 });
}

const caught = (promise: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(promise).then(
    () => null,
    (cause) => cause,
  );

/** What the model was asked with, as "role: content". */
const asked = (index = -1) => {
  const [prompt] = host.models.requests.at(index)!.request.prompts;
  if (prompt?.kind !== "chat") throw new Error("No chat was asked.");
  return prompt.messages.map(({ role, content }: ChatMessage) => `${role}: ${content}`);
};

test("in one piece", async () => {
  const response = await client.responses.create({ model: MODEL, input: "Hi", instructions: "Be brief." });
  expect(response.output_text).toBe("Hello you");
  expect(response).toMatchObject({ status: "completed", model: "demo", instructions: "Be brief.", store: true });
  expect(response.usage).toMatchObject({ input_tokens: 7, total_tokens: 10 });
  expect(asked()).toEqual(["system: Be brief.", "user: Hi"]);
});

test("streamed, and the helper checks the shape of what it gets", async () => {
  const stream = client.responses.stream({ model: MODEL, input: "Hi" });
  const pieces: string[] = [];
  stream.on("response.output_text.delta", ({ delta: piece }) => pieces.push(piece));
  const response = await stream.finalResponse();
  expect(pieces).toEqual(["Hello", " you"]);
  expect(response.output_text).toBe("Hello you");
});

test("an answer that was cut says so", async () => {
  host.models.script = [start(), delta("Hel"), finish(0, "length"), done()];
  const response = await client.responses.create({ model: MODEL, input: "Hi", max_output_tokens: 16 });
  expect(response).toMatchObject({ status: "incomplete", incomplete_details: { reason: "max_output_tokens" } });
});

describe("a kept response", () => {
  const first = () => client.responses.create({ model: MODEL, input: "One", instructions: "Be brief." });

  test("is read and deleted by its id", async () => {
    const { id, output } = await first();
    expect(await client.responses.retrieve(id)).toMatchObject({ id, output, status: "completed" });
    await client.responses.delete(id);
    expect(await caught(client.responses.retrieve(id))).toBeInstanceOf(NotFoundError);
    expect(await caught(client.responses.retrieve("resp_abc"))).toBeInstanceOf(NotFoundError);
  });

  test("is gone on from, without its instructions, more than once", async () => {
    const { id } = await first();
    host.models.script = answer("Second");
    const second = await client.responses.create({ model: MODEL, input: "Two", previous_response_id: id });
    expect(asked()).toEqual(["user: One", "assistant: Hello you", "user: Two"]);
    expect(second.previous_response_id).toBe(id);
    const third = client.responses.create({ model: MODEL, input: "Three", previous_response_id: second.id });
    expect((await third).output_text).toBe("Second");
    expect(asked()).toEqual(["user: One", "assistant: Hello you", "user: Two", "assistant: Second", "user: Three"]);
    await client.responses.create({ model: MODEL, input: "Other", previous_response_id: id, instructions: "New." });
    expect(asked()).toEqual(["system: New.", "user: One", "assistant: Hello you", "user: Other"]);
  });

  test("is there before the end of its stream", async () => {
    for await (const event of await client.responses.create({ model: MODEL, input: "One", stream: true })) {
      if (event.type !== "response.completed") continue;
      expect(await client.responses.retrieve(event.response.id)).toMatchObject({ output: event.response.output });
    }
    expect(host.responses.stored.size).toBe(1);
  });

  test("has items that others name", async () => {
    const { output } = await first();
    const input = [
      { role: "user" as const, content: "One" },
      { type: "item_reference" as const, id: output[0]!.id! },
      { role: "user" as const, content: "Two" },
    ];
    await client.responses.create({ model: MODEL, input });
    expect(asked()).toEqual(["user: One", "assistant: Hello you", "user: Two"]);
  });

  test("is none with store: false, after a fault, or when its reader went away", async () => {
    await client.responses.create({ model: MODEL, input: "Hi", store: false });
    host.models.script = [start(), delta("Hel"), fault()];
    await caught(client.responses.create({ model: MODEL, input: "Hi" }));
    host.models.script = [start(), delta("Hel"), new Promise(() => {})];
    for await (const event of await client.responses.create({ model: MODEL, input: "Hi", stream: true })) {
      if (event.type === "response.output_text.delta") break;
    }
    expect(host.models.streams.at(-1)!.numCancel).toBe(1);
    expect(host.responses.stored.size).toBe(0);
  });

  test("has only so much input", async () => {
    const long = "x".repeat(RESPONSE_INPUT_BYTES_MAX / 2);
    const input = Array.from({ length: 2 }, () => ({ role: "user", content: long }));
    expect(await errorOf(await host.post("/v1/responses", { model: MODEL, input }))).toMatchObject({ param: "input" });
    expect((await host.post("/v1/responses", { model: MODEL, input, store: false })).status).toBe(200);
  });
});

describe("what is not there is refused by name", () => {
  const id = (kind: string, i = 0) => `${kind}_${String(i).padStart(32, "0")}_${"0".repeat(16)}`;

  test("a previous response", async () => {
    const error = await caught(client.responses.create({ model: MODEL, input: "x", previous_response_id: id("resp") }));
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ param: "previous_response_id", code: "previous_response_not_found" });
  });

  test("an item", async () => {
    const input = [{ type: "item_reference" as const, id: `${id("msg")}_0` }];
    expect(await caught(client.responses.create({ model: MODEL, input }))).toMatchObject({ param: "input.0.id" });
  });

  test("items of more conversations than a request may ask for", async () => {
    const { stored } = host.responses;
    const body = { output: [] };
    for (let i = 0; i <= REFERENCED_CONVERSATIONS_MAX; i++) {
      const item = { id: `${id("msg", i)}_0`, type: "message", role: "assistant", content: [] };
      stored.set(id("resp", i), { previous: null, input: [], body: { ...body, output: [item] } } as never);
    }
    const references = (num: number) =>
      Array.from({ length: num }, (_, i) => ({ type: "item_reference", id: `${id("msg", i)}_0` }));
    const ask = (num: number) => host.post("/v1/responses", { model: MODEL, input: references(num), store: false });
    expect((await ask(REFERENCED_CONVERSATIONS_MAX)).status).toBe(200);
    const refused = await errorOf(await ask(REFERENCED_CONVERSATIONS_MAX + 1));
    expect(refused.message).toContain(String(REFERENCED_CONVERSATIONS_MAX));
  });
});

test("a host that keeps nothing answers, and refuses what would need it", async () => {
  host = scriptedHost({ responses: null });
  client = clientOf(host);
  const answered = await client.responses.create({ model: MODEL, input: "Hi" });
  expect(answered).toMatchObject({ store: false });
  const { id } = answered;
  expect((await host.app.request(`${ORIGIN}/v1/responses/${id}`)).status).toBe(404);
  for (const fields of [{ store: true }, { previous_response_id: id }, { input: [{ id: "msg_1" }] }]) {
    expect((await host.post("/v1/responses", { model: MODEL, input: "x", ...fields })).status).toBe(400);
  }
});

test("a fault in the middle of a stream is told with its code", async () => {
  host.models.script = [start(), delta("Hel"), fault()];
  const stream = await client.responses.create({ model: MODEL, input: "Hi", stream: true });
  const error = await caught(
    (async () => {
      for await (const _ of stream);
    })(),
  );
  expect(error).toBeInstanceOf(APIError);
  expect(error).toMatchObject({ code: "internal_error" });
});

test("a conversation that does not fit loses its oldest turns where that is asked for", async () => {
  const numFitting = 3;
  const { generate } = host.models;
  host.models.generate = async (request, key) => {
    const events = await generate.call(host.models, request, key);
    const [prompt] = request.prompts;
    if (prompt?.kind === "chat" && prompt.messages.length > numFitting) throw contextLengthExceeded(600, null, 512);
    return events;
  };
  const input = Array.from({ length: 9 }, (_, i) => ({
    role: i % 2 === 0 ? ("user" as const) : ("assistant" as const),
    content: String(i),
  }));
  const whole = await caught(client.responses.create({ model: MODEL, input }));
  expect(whole).toMatchObject({ code: "context_length_exceeded" });
  const cut = await client.responses.create({ model: MODEL, input, instructions: "S", truncation: "auto" });
  expect(cut.output_text).toBe("Hello you");
  expect(asked()).toEqual(["system: S", "user: 8"]);
  const stopped = host.models.streams.filter(({ numCancel }) => numCancel > 0);
  expect(stopped.length).toBeLessThan(3);
});
