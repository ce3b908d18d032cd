/** Ollama's routes, by its own client where it has a method, through the client's `fetch` option. */
import { Ollama } from "ollama";
import { beforeEach, describe, expect, test } from "vitest";
import { contextLengthExceeded, modelNotFound, overloaded, unauthorized } from "../../../src/protocol/errors.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { answer, delta, done, fault, finish, start } from "../protocol/events.ts";
import { CHAT, type Host, MODEL, ORIGIN, scriptedHost } from "./scripted-host.ts";

const chat = { model: "org/demo", messages: CHAT.messages };

let host: Host;
let client: Ollama;
beforeEach(() => {
  host = scriptedHost();
  client = new Ollama({
    host: ORIGIN,
    fetch: async (url, init) => host.app.fetch(new Request(url as string, init as RequestInit)),
  });
});

const get = (path: string, init: RequestInit = {}) => host.app.request(`${ORIGIN}${path}`, init);
const caught = (promise: Promise<unknown>): Promise<Error & { status_code?: number }> =>
  promise.then(
    () => {
      throw new Error("Nothing was thrown.");
    },
    (cause) => cause,
  );

async function collected<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const parts: T[] = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

describe("chats", () => {
  test("in one piece", async () => {
    const response = await client.chat({ ...chat, options: { num_predict: 5, temperature: 0 } });
    expect(response).toMatchObject({
      model: "org/demo",
      message: { role: "assistant", content: "Hello you" },
      done: true,
      done_reason: "stop",
      prompt_eval_count: 7,
      eval_count: 3,
    });
    expect(host.models.requests[0]).toMatchObject({ request: { maxTokens: 5, sampling: { temperature: 0 } } });
  });

  test("streamed, which is what happens where nobody says anything", async () => {
    const parts = await collected(await client.chat({ ...chat, stream: true }));
    expect(parts.map(({ message }) => message.content)).toEqual(["Hello", " you", ""]);
    const response = await host.post("/api/chat", chat);
    expect(response.headers.get("content-type")).toBe("application/x-ndjson");
    expect((await response.text()).trimEnd().split("\n")).toHaveLength(3);
  });

  test("with thoughts and calls", async () => {
    const calls: GenerateEvent[] = [
      { type: "reasoning", index: 0, text: "Hm.", tokenIds: [1], tokens: null },
      { type: "toolCall", index: 0, call: 0, id: "c", name: "now" },
      { type: "toolArguments", index: 0, call: 0, text: '{"zone":"UTC"}' },
    ];
    host.models.script = [start(), ...calls, finish(0, "tool_calls"), done()];
    const { message, done_reason } = await client.chat({ ...chat, think: true });
    expect(message).toMatchObject({
      thinking: "Hm.",
      tool_calls: [{ function: { name: "now", arguments: { zone: "UTC" } } }],
    });
    expect(done_reason).toBe("stop");
  });

  test("are answered by any of a model's names", async () => {
    for (const model of ["org/demo:latest", "org/demo"]) {
      expect(await client.chat({ ...chat, model })).toMatchObject({ model });
    }
    expect(host.models.requests.map(({ request }) => request.model)).toEqual(["org/demo", "org/demo"]);
  });
});

describe("prompts", () => {
  test("in one piece", async () => {
    const response = await client.generate({ model: "org/demo", prompt: "Hi", system: "S" });
    expect(response).toMatchObject({ response: "Hello you", done: true });
    expect(host.models.requests[0]!.request.prompts).toMatchObject([
      { kind: "chat", messages: [{ role: "system" }, {}] },
    ]);
  });

  test("streamed", async () => {
    const parts = await collected(await client.generate({ model: "org/demo", prompt: "Hi", stream: true }));
    expect(parts.map(({ response }) => response).join("")).toBe("Hello you");
  });

  test("of nothing load the model, or do not", async () => {
    expect(await client.generate({ model: "org/demo", prompt: "" })).toMatchObject({
      done_reason: "load",
      response: "",
    });
    expect(host.models.requests).toHaveLength(1);
    const parts = await collected(await client.chat({ model: "org/demo", messages: [], keep_alive: 0, stream: true }));
    expect(parts).toMatchObject([{ done: true, done_reason: "unload" }]);
    expect(host.models.requests).toHaveLength(1);
    expect(await caught(client.generate({ model: "nope", prompt: "", keep_alive: 0 }))).toMatchObject({
      status_code: 404,
    });
  });
});

describe("vectors", () => {
  test("of several texts", async () => {
    const response = await client.embed({
      model: "org/demo:latest",
      input: ["a", "b"],
      truncate: false,
      dimensions: 4,
    });
    expect(response).toMatchObject({
      model: "org/demo:latest",
      embeddings: [
        [1, 0, 0, 0],
        [0, 1, 0, 0],
      ],
      prompt_eval_count: 6,
    });
    expect(host.models.embedRequests[0]).toMatchObject({ model: "org/demo", dimensions: 4, truncate: false });
  });

  test("in the older form", async () => {
    expect(await client.embeddings({ model: "org/demo", prompt: "a" })).toEqual({ embedding: [1, 0, 0, 0] });
    expect(host.models.embedRequests[0]).toMatchObject({ truncate: true });
  });
});

describe("models", () => {
  test("are listed", async () => {
    expect(await client.list()).toEqual({
      models: [
        {
          name: "org/demo:latest",
          model: "org/demo:latest",
          modified_at: "2023-11-14T22:13:20.000Z",
          size: 16_000_000,
          digest: MODEL.sha256,
          details: {
            parent_model: "",
            format: "gguf",
            family: "llama",
            families: ["llama"],
            parameter_size: "15.0M",
            quantization_level: "Q8_0",
          },
        },
      ],
    });
  });

  test("say of themselves what is known", async () => {
    expect(await client.show({ model: "org/demo" })).toMatchObject({
      license: "MIT",
      details: { family: "llama" },
      model_info: {
        "general.architecture": "llama",
        "general.parameter_count": 15_000_000,
        "llama.context_length": 512,
      },
      capabilities: ["completion", "tools"],
    });
    expect((await host.post("/api/show", { name: "org/demo:latest" })).status).toBe(200);
    expect(await caught(client.show({ model: "nope" }))).toMatchObject({ status_code: 404 });
  });

  test("that are loaded are told, others are not", async () => {
    const { models } = await client.ps();
    expect(models).toMatchObject([{ name: "org/demo:latest", size_vram: 0, context_length: 512 }]);
    host.models.list = [{ ...MODEL, residency: null }];
    expect((await client.ps()).models).toEqual([]);
  });

  test("of which nothing is known are listed all the same", async () => {
    const unknown = {
      contextLength: null,
      architecture: null,
      quantization: null,
      numParameters: null,
      sizeBytes: null,
    };
    host.models.list = [{ ...MODEL, ...unknown, id: "a:7b", sha256: null, license: null, residency: "gpu" }];
    const blank = { family: "", families: [], parameter_size: "", quantization_level: "" };
    expect((await client.list()).models).toMatchObject([{ name: "a:7b", size: 0, digest: "", details: blank }]);
    expect((await client.show({ model: "a:7b" })).model_info).toEqual({ "general.name": "A demo." });
  });

  test("are not managed over this API", async () => {
    const writes = [
      () => client.pull({ model: "x" }),
      () => client.push({ model: "x" }),
      () => client.create({ model: "x", from: "y" }),
      () => client.copy({ source: "x", destination: "y" }),
      () => client.delete({ model: "x" }),
    ];
    for (const write of writes) {
      const message = expect.stringContaining("npm run model");
      expect(await caught(write())).toMatchObject({ status_code: 501, message });
    }
    expect((await host.post("/api/blobs/sha256:00", "x")).status).toBe(501);
  });

  test("are those of a server of some version", async () => {
    expect((await client.version()).version).toMatch(/^\d+\.\d+\.\d+$/);
  });
});

describe("errors are a sentence:", () => {
  test.each([
    ["a wrong field", "/api/chat", { ...chat, options: { temperature: 3 } }, 400],
    ["no JSON", "/api/generate", "{", 400],
    ["another method", "/api/tags", {}, 405],
    ["an unknown path", "/api/nope", {}, 404],
  ])("%s", async (_name, path, body, status) => {
    const response = await host.post(path, body);
    expect(response.status).toBe(status);
    expect(await response.json()).toEqual({ error: expect.any(String) });
  });

  test.each([
    [modelNotFound("x", []), 404],
    [contextLengthExceeded(600, 5, 512), 400],
    [overloaded(9, 8), 429],
    [new Error("secret detail"), 500],
  ])("refusal %#, streamed and not", async (refusal, status) => {
    host.models.script = refusal;
    for (const stream of [false, true]) {
      const response = await host.post("/api/chat", { ...chat, stream });
      expect(response.status).toBe(status);
      const { error } = (await response.json()) as { error: string };
      expect(error).not.toContain("secret");
      if (status === 429) expect(response.headers.get("retry-after")).toBe("1");
    }
  });

  test.each([
    ["an error event", fault()],
    ["an exception", new Error("engine lost")],
  ])("in the middle of a stream: %s", async (_name, step) => {
    host.models.script = [start(), delta("Hel"), step];
    const stream = await client.chat({ ...chat, stream: true });
    const pieces: string[] = [];
    const error = await caught(
      (async () => {
        for await (const { message } of stream) pieces.push(message.content);
      })(),
    );
    expect(pieces).toEqual(["Hel"]);
    expect(error.message).toMatch(/^Internal error/);
  });

  test("a missing key, which reaches no engine", async () => {
    host = scriptedHost({
      authorize: () => {
        throw unauthorized();
      },
    });
    const calls = [
      () => client.chat(chat),
      () => client.generate({ model: "org/demo", prompt: "" }),
      () => client.embed({ model: "org/demo", input: "a" }),
      () => client.list(),
      () => client.show({ model: "org/demo" }),
    ];
    for (const call of calls) expect(await caught(call())).toMatchObject({ status_code: 401 });
    expect([host.models.requests, host.models.embedRequests]).toEqual([[], []]);
  });
});

test("going away stops the engine", async () => {
  host.models.script = [start(), ...Array.from({ length: 1000 }, () => delta("x"))];
  const stream = await client.chat({ ...chat, stream: true });
  let numParts = 0;
  const error = await caught(
    (async () => {
      for await (const _ of stream) if (++numParts === 3) stream.abort();
    })(),
  );
  expect(error.name).toBe("AbortError");
  expect(host.models.streams[0]!.numCancel).toBe(1);
  expect(host.models.streams[0]!.numNext).toBeLessThan(8);
});

test("any page may call it", async () => {
  const response = await get("/api/tags", { headers: { origin: "https://app.test" } });
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  const preflight = { method: "OPTIONS", headers: { "access-control-request-method": "POST" } };
  expect((await get("/api/chat", preflight)).status).toBe(204);
});

test("the answer of another model says so", async () => {
  const generate = host.models.generate.bind(host.models);
  host.models.generate = async (request, key) => {
    const events = await generate(request, key);
    return { next: () => events.next(), cancel: () => events.cancel(), fallbackModel: "small" };
  };
  host.models.script = answer("Hi");
  const response = await host.post("/api/chat", { ...chat, stream: false });
  expect(response.headers.get("x-runnel-fallback")).toBe("small");
  expect(await response.json()).toMatchObject({ model: "small" });
});
