import { beforeEach, describe, expect, test } from "vitest";
import { createApi } from "../../../src/api/app.ts";
import { ANYBODY } from "../../../src/api/caller.ts";
import { modelNotFound, overloaded, unauthorized } from "../../../src/protocol/errors.ts";
import { answer, delta, fault, finish, start } from "../protocol/events.ts";
import { readSse } from "../protocol/sse-reader.ts";
import { CHAT, errorOf, type Host, MODEL, ORIGIN, scriptedHost } from "./scripted-host.ts";

let host: Host;
beforeEach(() => {
  host = scriptedHost();
});

const get = (path: string, init: RequestInit = {}) => host.app.request(`${ORIGIN}${path}`, init);

describe("chat completions", () => {
  test("answer in one object", async () => {
    const response = await host.post("/v1/chat/completions", CHAT);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toContain("application/json");
    expect(await response.json()).toEqual({
      id: "chatcmpl-id-000000000000000000000000000002",
      object: "chat.completion",
      created: 1_700_000_000,
      model: "demo",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "Hello you", refusal: null },
          logprobs: null,
          finish_reason: "stop",
          stop_reason: null,
        },
      ],
      usage: {
        prompt_tokens: 7,
        completion_tokens: 3,
        total_tokens: 10,
        prompt_tokens_details: { cached_tokens: 4 },
      },
    });
    expect(host.models.requests[0]!.request).toMatchObject({ model: "org/demo", requestId: expect.any(String) });
    expect(host.models.streams[0]!.numCancel).toBe(0);
  });

  test("stream, whatever the client accepts", async () => {
    for (const accept of ["application/json", "*/*", "text/html"]) {
      const response = await host.post("/v1/chat/completions", { ...CHAT, stream: true }, { headers: { accept } });
      expect(response.status).toBe(200);
      expect(Object.fromEntries(response.headers)).toMatchObject({
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "x-accel-buffering": "no",
        "x-request-id": expect.stringMatching(/^id-\d+$/),
      });
      const { chunks } = readSse(await response.text());
      expect(chunks.map((chunk) => chunk.choices[0]!.delta!.content).join("")).toBe("Hello you");
    }
  });

  test("several choices", async () => {
    host.models.script = [start(), delta("b", 1), finish(1), delta("a", 0), finish(0), answer().at(-1)!];
    const body = (await (await host.post("/v1/chat/completions", { ...CHAT, n: 2 })).json()) as {
      choices: { message: { content: string } }[];
    };
    expect(body.choices.map((choice) => choice.message.content)).toEqual(["a", "b"]);
  });
});

test("completions of several prompts are numbered through", async () => {
  host.models.script = [start(), ...[3, 1, 0, 2].flatMap((i) => [delta(`t${i}`, i), finish(i)]), answer().at(-1)!];
  const response = await host.post("/v1/completions", { model: "m", prompt: ["a", "b"], n: 2 });
  const body = (await response.json()) as { object: string; id: string; choices: { index: number; text: string }[] };
  expect(body).toMatchObject({ object: "text_completion", id: expect.stringMatching(/^cmpl-/) });
  expect(body.choices.map(({ index, text }) => [index, text])).toEqual([
    [0, "t0"],
    [1, "t1"],
    [2, "t2"],
    [3, "t3"],
  ]);
});

describe("models", () => {
  test("are listed", async () => {
    expect(await (await get("/v1/models")).json()).toEqual({
      object: "list",
      data: [
        {
          id: "org/demo",
          object: "model",
          created: 1_700_000_000,
          owned_by: "runnel",
          parent: null,
          max_model_len: 512,
          description: "A demo.",
          capabilities: ["completion", "tools"],
          meta: {
            ...{ n_params: 15_000_000, size: 16_000_000, family: "llama", quantization: "Q8_0", license: "MIT" },
            digest: MODEL.sha256,
          },
        },
      ],
    });
  });

  test.each(["/v1/models/org/demo", "/v1/models/org%2Fdemo"])("%s is found by an id with a slash", async (path) => {
    expect(await (await get(path)).json()).toMatchObject({ id: MODEL.id });
  });

  test.each(["/v1/models/nope", "/v1/models/%E0%A4%A", "/v1/models/a/b/c?x=1"])("%s is a 404", async (path) => {
    const response = await get(path);
    expect(response.status).toBe(404);
    expect(await errorOf(response)).toMatchObject({ code: "model_not_found", param: "model" });
  });
});

describe("health", () => {
  test("lives", async () => {
    expect(await (await get("/health")).json()).toEqual({ status: "ok" });
  });

  test("is ready, or says when to ask again", async () => {
    expect(await (await get("/ready")).json()).toEqual({ status: "ready", model: "org/demo" });
    host.models.isReady = false;
    const response = await get("/ready");
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await response.json()).toEqual({ status: "unavailable", model: "org/demo" });
  });

  test.each(["/health", "/ready", "/v1/models"])("HEAD %s has no body", async (path) => {
    const response = await get(path, { method: "HEAD" });
    expect([response.status, await response.text()]).toEqual([200, ""]);
  });
});

describe("refusals have OpenAI's shape:", () => {
  test.each(["/nope", "/v1", "/v1/nope", "/v1/chat", "/V1/models"])("unknown path %s", async (path) => {
    const response = await get(path);
    expect(response.status).toBe(404);
    expect(await errorOf(response)).toMatchObject({ type: "invalid_request_error", code: "unknown_url", param: null });
  });

  test.each([
    ["GET", "/v1/chat/completions", "POST"],
    ["HEAD", "/v1/completions", "POST"],
    ["POST", "/v1/models", "GET, HEAD"],
    ["DELETE", "/v1/models/org/demo", "GET, HEAD"],
    ["PUT", "/v1/sessions", "GET, HEAD, POST"],
    ["PATCH", "/v1/sessions/x", "GET, HEAD, DELETE"],
    ["GET", "/v1/sessions/x/stop", "POST"],
    ["POST", "/health", "GET, HEAD"],
    ["OPTIONS", "/v1/models", "GET, HEAD"],
  ])("%s %s", async (method, path, allow) => {
    const response = await get(path, { method });
    expect([response.status, response.headers.get("allow")]).toEqual([405, allow]);
    if (method !== "HEAD") expect(await errorOf(response)).toMatchObject({ code: "method_not_allowed" });
  });

  test("what the service refuses, before any stream", async () => {
    host.models.script = modelNotFound("x", ["org/demo"]);
    for (const stream of [false, true]) {
      const response = await host.post("/v1/chat/completions", { ...CHAT, stream });
      expect(response.status).toBe(404);
      expect(response.headers.get("content-type")).toContain("application/json");
      expect(await errorOf(response)).toMatchObject({ code: "model_not_found", param: "model" });
    }
  });

  test("a full queue, with both headers", async () => {
    host.models.script = overloaded(9, 8);
    const response = await host.post("/v1/chat/completions", CHAT);
    expect(response.status).toBe(429);
    expect(Object.fromEntries(response.headers)).toMatchObject({ "retry-after": "1", "retry-after-ms": "1000" });
  });

  test("an error event before the whole answer, with its status", async () => {
    host.models.script = [start(), delta("Hel"), { ...fault(), status: 503, code: "model_unavailable" } as never];
    const response = await host.post("/v1/chat/completions", CHAT);
    expect(response.status).toBe(503);
    expect(await errorOf(response)).toMatchObject({ code: "model_unavailable", type: "server_error" });
  });

  test("sessions on a host without them", async () => {
    const { models, clock } = host;
    const app = createApi({ models, sessions: null, clock, randomId: () => "r", log: () => {} });
    const response = await app.request("/v1/sessions");
    expect([response.status, (await errorOf(response)).code]).toEqual([404, "unknown_url"]);
  });
});

describe("a bug", () => {
  const BUG = new Error("secret detail", { cause: new Error("deep cause") });

  test("before the answer shows its request id only, and the log has the cause", async () => {
    host.models.script = BUG;
    const response = await host.post("/v1/chat/completions", CHAT, { headers: { "x-request-id": "my-id" } });
    expect(response.status).toBe(500);
    expect(await errorOf(response)).toEqual({
      message: "Internal error. Request id: my-id",
      type: "server_error",
      param: null,
      code: "internal_error",
    });
    const record = host.records.find(({ level }) => level === "error")!;
    expect(record).toMatchObject({ event: "internal_error", requestId: "my-id", route: "/v1/chat/completions" });
    expect(record).toHaveProperty("cause", expect.stringMatching(/secret detail[\s\S]*deep cause/));
  });

  test.each([
    ["whole", false],
    ["streamed", true],
  ])("within a %s answer stops the engine once", async (_name, stream) => {
    host.models.script = [start(), delta("Hel"), BUG];
    const response = await host.post("/v1/chat/completions", { ...CHAT, stream });
    const text = await response.text();
    expect(text).not.toContain("secret");
    if (stream) expect(readSse(text).error).toMatchObject({ code: "internal_error" });
    else expect(response.status).toBe(500);
    expect(host.models.streams[0]!.numCancel).toBe(1);
    expect(host.records.filter(({ level }) => level === "error")).toHaveLength(1);
  });

  test("of an engine that ends without an end is told, not hidden", async () => {
    host.models.script = [start(), delta("Hel"), finish()];
    const whole = await host.post("/v1/chat/completions", CHAT);
    expect(whole.status).toBe(500);
    const streamed = await host.post("/v1/chat/completions", { ...CHAT, stream: true });
    expect(readSse(await streamed.text()).error).toMatchObject({ code: "internal_error" });
  });
});

describe("request ids", () => {
  test.each(["abc-123_x.y:z", "a".repeat(128)])("%s is taken over", async (id) => {
    expect((await get("/health", { headers: { "x-request-id": id } })).headers.get("x-request-id")).toBe(id);
  });

  test.each(["a".repeat(129), "a b", "a\tb", "é", '"', "<script>"])("%s is replaced", async (id) => {
    const response = await get("/health", { headers: { "x-request-id": id } });
    expect(response.headers.get("x-request-id")).toMatch(/^id-\d+$/);
  });

  test("reach the engine, the error and the log", async () => {
    await host.post("/v1/chat/completions", CHAT, { headers: { "x-request-id": "mine" } });
    expect(host.models.requests[0]!.request.requestId).toBe("mine");
    expect(host.records.at(-1)).toMatchObject({ requestId: "mine", status: 200, route: "/v1/chat/completions" });
    expect((await get("/nope", { headers: { "x-request-id": "mine" } })).headers.get("x-request-id")).toBe("mine");
  });
});

test("the log holds no text of prompts or answers, and no session's id", async () => {
  await host.post("/v1/chat/completions", { ...CHAT, messages: [{ role: "user", content: "TOP SECRET" }] });
  await host.post("/v1/chat/completions", { model: "TOP SECRET", messages: "TOP SECRET" });
  await host.post("/v1/chat/completions", "TOP SECRET");
  await get("/v1/sessions/TOPSECRET0000000000000000000");
  const log = JSON.stringify(host.records);
  expect(host.records).toHaveLength(4);
  for (const word of ["TOP", "SECRET", "Hello"]) expect(log).not.toContain(word);
});

describe("CORS", () => {
  test("any origin may read /v1, without credentials", async () => {
    for (const response of [
      await get("/v1/models", { headers: { origin: "https://app.test" } }),
      await host.post("/v1/chat/completions", "{", { headers: { origin: "https://app.test" } }),
      await get("/v1/nope"),
    ]) {
      expect(response.headers.get("access-control-allow-origin")).toBe("*");
      expect(response.headers.get("access-control-expose-headers")).toContain("x-request-id");
      expect(response.headers.has("access-control-allow-credentials")).toBe(false);
    }
    expect((await get("/health")).headers.has("access-control-allow-origin")).toBe(false);
  });

  test("a host's key guards all but probes, and a page may read why it was refused", async () => {
    const { app, models } = scriptedHost({
      authorize: (request) => {
        if (request.headers.get("authorization") !== "Bearer right") throw unauthorized();
        return ANYBODY;
      },
    });
    const ask = (path: string, init?: RequestInit) => app.request(`${ORIGIN}${path}`, init);
    const refused = await ask("/v1/models");
    expect([refused.status, (await errorOf(refused)).code]).toEqual([401, "invalid_api_key"]);
    expect(refused.headers.get("www-authenticate")).toBe("Bearer");
    expect(refused.headers.get("access-control-allow-origin")).toBe("*");
    expect((await ask("/v1/chat/completions", { method: "POST", body: "{}" })).status).toBe(401);
    expect(models.requests).toEqual([]);
    expect((await ask("/v1/models", { headers: { authorization: "Bearer right" } })).status).toBe(200);
    expect((await ask("/health")).status).toBe(200);
    expect((await ask("/ready")).status).toBe(200);
    expect((await ask("/anything/else")).status).toBe(401);
    const preflight = { method: "OPTIONS", headers: { "access-control-request-method": "POST" } };
    expect((await ask("/v1/models", preflight)).status).toBe(204);
  });

  test("a preflight allows our headers and echoes x-stainless-*, nothing else", async () => {
    const response = await get("/v1/chat/completions", {
      method: "OPTIONS",
      headers: {
        origin: "https://app.test",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization, x-stainless-os,X-Stainless-Arch, cookie, x-evil",
      },
    });
    expect(response.status).toBe(204);
    const allowed = response.headers.get("access-control-allow-headers")!.split(", ");
    expect(allowed).toEqual(
      expect.arrayContaining(["authorization", "content-type", "x-stainless-os", "x-stainless-arch"]),
    );
    expect(allowed).not.toContain("cookie");
    expect(allowed).not.toContain("x-evil");
    expect(response.headers.has("access-control-allow-credentials")).toBe(false);
  });
});
