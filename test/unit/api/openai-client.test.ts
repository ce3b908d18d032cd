/** The real `openai` client against the routes, through its `fetch` option: what it sends, and what it makes of us. */
import OpenAI, {
  APIError,
  BadRequestError,
  ConflictError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
} from "openai";
import { beforeEach, describe, expect, test } from "vitest";
import { contextLengthExceeded, modelNotFound, overloaded, sessionBusy } from "../../../src/protocol/errors.ts";
import { answer, delta, done, fault, finish, prompt, reasoning, start, token, toolCall } from "../protocol/events.ts";
import { CHAT, type Host, ORIGIN, scriptedHost } from "./scripted-host.ts";

type Message = OpenAI.Chat.ChatCompletionMessageParam;
const chat = { model: CHAT.model, messages: CHAT.messages as Message[] };

let host: Host;
let client: OpenAI;
let numCalls: number;
beforeEach(() => {
  host = scriptedHost();
  numCalls = 0;
  client = new OpenAI({
    apiKey: "any",
    baseURL: `${ORIGIN}/v1`,
    fetch: async (url, init) => {
      numCalls++;
      return host.app.fetch(new Request(url as string, init as RequestInit));
    },
  });
});

const caught = (promise: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(promise).then(
    () => null,
    (cause) => cause,
  );

describe("chat", () => {
  test("in one piece, with logprobs", async () => {
    host.models.script = [start(), delta("Hé", 0, [token("Hé", -0.5, [["Ha", -1]])]), finish(0, "length"), done()];
    const completion = await client.chat.completions.create({ ...chat, logprobs: true, top_logprobs: 1, seed: 1 });
    expect(completion.choices[0]).toMatchObject({
      message: { role: "assistant", content: "Hé" },
      finish_reason: "length",
      logprobs: { content: [{ token: "Hé", logprob: -0.5, top_logprobs: [{ token: "Ha" }] }] },
    });
    expect(completion.usage?.prompt_tokens_details?.cached_tokens).toBe(4);
    expect(completion._request_id).toMatch(/^id-/);
    expect(host.models.requests[0]!.request).toMatchObject({ logprobs: 1, sampling: { seed: 1 } });
  });

  test("streamed, with usage", async () => {
    host.models.script = answer("Hé", "llo 🦀");
    const stream = await client.chat.completions.create({
      ...chat,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? "";
      usage = chunk.usage;
    }
    expect(text).toBe("Héllo 🦀");
    expect(usage?.total_tokens).toBe(10);
  });

  test("by the stream helper, which checks the shape of what it gets", async () => {
    host.models.script = answer("Hé", "", "llo");
    const stream = client.chat.completions.stream(chat);
    const pieces: string[] = [];
    stream.on("content", (piece) => pieces.push(piece));
    const completion = await stream.finalChatCompletion();
    expect(pieces).toEqual(["Hé", "llo"]);
    expect(completion.choices[0]!.message).toMatchObject({ role: "assistant", content: "Héllo" });
    expect(await stream.finalContent()).toBe("Héllo");
  });

  test("by the stream helper with two choices", async () => {
    host.models.script = [start(), delta("b", 1), delta("a", 0), finish(0), finish(1, "length"), done()];
    const { choices } = await client.chat.completions.stream({ ...chat, n: 2 }).finalChatCompletion();
    expect(choices.map((choice) => [choice.message.content, choice.finish_reason])).toEqual([
      ["a", "stop"],
      ["b", "length"],
    ]);
  });
});

describe("completions", () => {
  test("in one piece, echoed with logprobs", async () => {
    const script = [start(), prompt("Hi", 0, [token("Hi", null)]), delta("!", 0, [token("!", -1)]), finish(), done()];
    host.models.script = script;
    const completion = await client.completions.create({ model: "m", prompt: [1, 2], echo: true, logprobs: 1 });
    expect(completion.choices[0]).toMatchObject({
      text: "Hi!",
      logprobs: { tokens: ["Hi", "!"], token_logprobs: [null, -1], text_offset: [0, 2] },
    });
    expect(host.models.requests[0]!.request).toMatchObject({
      prompts: [{ kind: "tokens", tokens: [1, 2] }],
      echo: true,
    });
  });

  test("streamed", async () => {
    let text = "";
    for await (const chunk of await client.completions.create({ model: "m", prompt: "x", stream: true })) {
      text += chunk.choices[0]!.text;
    }
    expect(text).toBe("Hello you");
  });
});

test("models are listed and found, also with a slash in the id", async () => {
  const ids: string[] = [];
  for await (const model of client.models.list()) ids.push(model.id);
  expect(ids).toEqual(["org/demo"]);
  expect(await client.models.retrieve("org/demo")).toMatchObject({ owned_by: "runnel" });
});

describe("errors keep status, code, param and request id", () => {
  test("a wrong field", async () => {
    const error = (await caught(client.chat.completions.create({ ...chat, temperature: 3 }))) as APIError;
    expect(error).toBeInstanceOf(BadRequestError);
    expect(error).toMatchObject({ status: 400, param: "temperature", type: "invalid_request_error", code: null });
    expect(error.message).toContain("at most 2");
    expect(error.requestID).toMatch(/^id-/);
  });

  test.each([
    ["context", contextLengthExceeded(600, 5, 512), BadRequestError, "context_length_exceeded"],
    ["model", modelNotFound("x", []), NotFoundError, "model_not_found"],
  ])("%s", async (_name, refusal, kind, code) => {
    host.models.script = refusal;
    for (const stream of [false, true]) {
      const error = await caught(client.chat.completions.create({ ...chat, stream }));
      expect(error).toBeInstanceOf(kind);
      expect(error).toMatchObject({ code });
    }
    expect(numCalls).toBe(2);
  });

  test("calls of tools, streamed through the helper that checks every delta, and whole", async () => {
    const tools = [{ type: "function" as const, function: { name: "f", parameters: {} } }];
    host.models.script = [
      start(),
      reasoning("Hm."),
      ...toolCall(0, "f", ['{"a', '": 1}']),
      ...toolCall(1, "f", ["{}"]),
      finish(0, "tool_calls"),
      done(),
    ];
    const message = {
      role: "assistant",
      content: null,
      tool_calls: [
        { id: "call_0_0", type: "function", function: { name: "f", arguments: '{"a": 1}' } },
        { id: "call_0_1", type: "function", function: { name: "f", arguments: "{}" } },
      ],
    };
    const whole = await client.chat.completions.create({ ...chat, tools });
    expect(whole.choices[0]).toMatchObject({ finish_reason: "tool_calls", message });
    expect(whole.choices[0]!.message).toMatchObject({ reasoning_content: "Hm.", reasoning: "Hm." });
    const streamed = await client.chat.completions.stream({ ...chat, tools }).finalChatCompletion();
    expect(streamed.choices[0]).toMatchObject({
      finish_reason: "tool_calls",
      message: { ...message, content: "", tool_calls: message.tool_calls },
    });
  });

  test("a tool that is none of the tools is refused before the model is asked", async () => {
    const tools = [{ type: "function" as const, function: { name: "f" } }];
    const tool_choice = { type: "function" as const, function: { name: "g" } };
    expect(await caught(client.chat.completions.create({ ...chat, tools, tool_choice }))).toMatchObject({
      status: 400,
      param: "tool_choice",
    });
    expect(host.models.requests).toHaveLength(0);
  });

  test.each([
    ["an error event", fault()],
    ["an exception", new Error("engine lost")],
  ])("in the middle of a stream: %s", async (_name, step) => {
    host.models.script = [start(), delta("Hel"), step];
    const stream = await client.chat.completions.create({ ...chat, stream: true });
    const pieces: string[] = [];
    const error = await caught(
      (async () => {
        for await (const chunk of stream) pieces.push(chunk.choices[0]!.delta.content ?? "");
      })(),
    );
    expect(pieces.join("")).toBe("Hel");
    expect(error).toBeInstanceOf(APIError);
    expect(error).toMatchObject({ code: "internal_error", type: "server_error" });
  });
});

describe("retries", () => {
  test("a full queue is tried again after the time we name", async () => {
    const { fetch } = host.app;
    host.app.fetch = (...args) => {
      host.models.script = numCalls < 2 ? overloaded(9, 8) : answer("ok");
      return fetch(...args);
    };
    const startedAtMs = performance.now();
    expect((await client.chat.completions.create(chat)).choices[0]!.message.content).toBe("ok");
    expect(numCalls).toBe(2);
    expect(performance.now() - startedAtMs).toBeGreaterThan(950);
  });

  test("a queue that stays full is told", async () => {
    host.models.script = overloaded(9, 8);
    expect(await caught(client.chat.completions.create(chat, { maxRetries: 0 }))).toBeInstanceOf(RateLimitError);
  });

  test("a busy session is not tried again", async () => {
    host.models.script = sessionBusy("s");
    expect(await caught(client.chat.completions.create(chat))).toBeInstanceOf(ConflictError);
    expect(numCalls).toBe(1);
  });

  test("a bug is tried again: the engine may have been rebuilt", async () => {
    host.models.script = new Error("trap");
    expect(await caught(client.chat.completions.create(chat, { maxRetries: 1 }))).toBeInstanceOf(InternalServerError);
    expect(numCalls).toBe(2);
  });
});

describe("going away stops the engine once", () => {
  const endless = () => [start(), ...Array.from({ length: 1000 }, () => delta("x"))];

  test("by leaving the loop", async () => {
    host.models.script = endless();
    let numChunks = 0;
    for await (const _ of await client.chat.completions.create({ ...chat, stream: true })) {
      if (++numChunks === 3) break;
    }
    const [events] = host.models.streams;
    expect(events!.numCancel).toBe(1);
    expect(events!.numNext).toBeLessThan(8);
  });

  test("by aborting a stream", async () => {
    host.models.script = endless();
    const stream = await client.chat.completions.create({ ...chat, stream: true });
    let numChunks = 0;
    for await (const _ of stream) if (++numChunks === 3) stream.controller.abort();
    expect(host.models.streams[0]!.numCancel).toBe(1);
    expect(numChunks).toBeLessThan(8);
  });

  test("by aborting while waiting for a whole answer", async () => {
    const abort = new AbortController();
    host.models.script = [start(), new Promise(() => {})];
    const error = caught(client.chat.completions.create(chat, { signal: abort.signal, maxRetries: 0 }));
    await expect.poll(() => host.models.streams[0]?.numNext).toBe(2);
    abort.abort();
    expect(host.models.streams[0]!.numCancel).toBe(1);
    host.models.streams.length = 0;
    expect(String(await Promise.race([error, new Promise((resolve) => setTimeout(resolve, 200, "pending"))]))).toMatch(
      /abort|pending/i,
    );
  });
});
