/**
 * Every route there is, by the routes themselves, so that one that is added is asked, too: what a request without a right
 * key meets, a key for other models, a key whose minute is used up, and another key.
 */
import { describe, expect, test } from "vitest";
import { createApi } from "../../../src/api/app.ts";
import type { Caller } from "../../../src/api/caller.ts";
import type { ApiOptions } from "../../../src/api/context.ts";
import { rateLimited, unauthorized } from "../../../src/protocol/errors.ts";
import { CHAT, errorOf, type Host, ManualClock, MODEL, ORIGIN, scriptedHost } from "./scripted-host.ts";

const OPEN_PATHS: readonly string[] = ["/health", "/ready"];
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** With an id of the right form wherever a path has a parameter. */
const PATHS = [...new Set(scriptedHost().app.routes.map(({ path }) => path))]
  .filter((path) => path !== "/*" && !OPEN_PATHS.includes(path))
  .map((path) => path.replace(/:[a-z]+(\{[^}]*\})?/g, "a".repeat(32)));

const POSTS = scriptedHost()
  .app.routes.filter(({ method }) => method === "POST")
  .map(({ path }) => path.replace(/:[a-z]+/g, "a".repeat(32)));

/** Complete for every route, each of which reads the fields that it knows, but for two that refuse what is another's. */
function bodyFor(model: string, path: string): object {
  if (path === "/v1/responses") return { model, input: "Hi" };
  if (path === "/tokenize") return { model, prompt: "Hi" };
  const messages = [{ role: "user", content: "Hi" }];
  const texts = { messages, prompt: "Hi", input: "Hi", inputs: "Hi", tokens: [72] };
  return { model, ...texts, parameters: { adapter_id: model } };
}

/** They name no model: a session has its own, and Ollama's writes are answered with 501. */
const namesNoModel = (path: string) =>
  path.startsWith("/v1/sessions/") || /^\/api\/(pull|push|create|copy|blobs\/.*)$/.test(path);

function expectShape(path: string, body: unknown): void {
  const isTgi = ["/", "/generate", "/generate_stream", "/info"].includes(path);
  if (path.startsWith("/api/")) expect(body).toEqual({ error: expect.any(String) });
  else if (isTgi) expect(body).toEqual({ error: expect.any(String), error_type: "validation" });
  else {
    const { error } = body as { error: object };
    expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
  }
}

test("the list of routes is no empty one", () => {
  expect(PATHS).toEqual(
    expect.arrayContaining(["/v1/chat/completions", "/api/chat", "/generate", "/tokenize", "/version", "/v1/sessions"]),
  );
  expect(PATHS.length).toBeGreaterThan(35);
  expect(POSTS.length).toBeGreaterThan(20);
});

describe("a request without a right key", () => {
  const touched: string[] = [];

  /** A service of which nothing may be asked. */
  function untouchable<T extends object>(name: string): T {
    const get = (_: object, property: string | symbol) => {
      touched.push(`${name}.${String(property)}`);
      return () => {
        throw new Error(`${name} was asked.`);
      };
    };
    return new Proxy({}, { get }) as T;
  }

  const records: object[] = [];
  const app = createApi({
    models: untouchable<ApiOptions["models"]>("models"),
    sessions: untouchable<NonNullable<ApiOptions["sessions"]>>("sessions"),
    responses: untouchable<NonNullable<ApiOptions["responses"]>>("responses"),
    limits: untouchable<NonNullable<ApiOptions["limits"]>>("limits"),
    clock: new ManualClock(),
    randomId: () => "r",
    log: (record) => records.push(record),
    authorize: async () => {
      throw unauthorized("This API key is not known.");
    },
  });

  test.each([...PATHS, "/v1/nothing", "/api/nothing", "/nothing"])("meets a 401 at %s", async (path) => {
    for (const method of METHODS) {
      const body = ["GET", "HEAD"].includes(method) ? {} : { body: JSON.stringify(bodyFor(MODEL.id, path)) };
      const headers = { "content-type": "application/json", upgrade: "websocket" };
      const request = new Request(`${ORIGIN}${path}`, { method, headers, ...body });
      const response = await app.fetch(request);
      expect([method, response.status]).toEqual([method, 401]);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
      expect(response.headers.get("x-request-id")).toBe("r");
      expect(request.bodyUsed).toBe(false);
      if (method !== "HEAD") expectShape(path, await response.json());
    }
    expect(touched).toEqual([]);
    expect(JSON.stringify(records)).not.toContain("internal_error");
  });
});

describe("a key for some models", () => {
  const host = scriptedHost({ authorize: () => ({ keyId: "key_0123456789ab", models: [MODEL.id] }) });
  host.models.list = [{ ...MODEL, id: "org/other" }, MODEL];
  const get = async (path: string) => (await host.app.request(`${ORIGIN}${path}`)).json();
  const numAsked = () => host.models.requests.length + host.models.embedRequests.length;

  test.each(POSTS.filter((path) => !namesNoModel(path)))("is refused another one at %s", async (path) => {
    const response = await host.post(path, bodyFor("org/other", path));
    expect([response.status, numAsked()]).toEqual([403, 0]);
    expectShape(path, await response.json());
  });

  test("is refused another one's card", async () => {
    const response = await host.app.request(`${ORIGIN}/v1/models/org/other`);
    expect([response.status, (await errorOf(response)).code]).toEqual([403, "model_not_allowed"]);
  });

  test("sees no other one in any list", async () => {
    for (const path of ["/v1/models", "/api/tags", "/api/ps", "/info"]) {
      const text = JSON.stringify(await get(path));
      expect([path, text.includes(MODEL.id), text.includes("org/other")]).toEqual([path, true, false]);
    }
  });

  test("has its first model where a request names none", async () => {
    for (const path of ["/generate", "/generate_stream", "/"]) await (await host.post(path, { inputs: "Hi" })).text();
    expect(host.models.requests.map(({ request }) => request.model)).toEqual(Array(3).fill(MODEL.id));
    expect((await host.post("/tokenize", { prompt: "Hi" })).status).toBe(200);
  });
});

/** Work of the engine is counted. Making a session, reading a model's card and what is answered with 501 is none. */
const countsAs = (path: string) => !namesNoModel(path) && path !== "/v1/sessions" && path !== "/api/show";

describe("a key whose minute is used up", () => {
  const host = scriptedHost({
    authorize: () => ({ keyId: "key_0123456789ab", models: null }),
    limits: {
      take: async () => {
        throw rateLimited("requests", 2, 12.3, {});
      },
    },
  });

  test.each(POSTS.filter(countsAs))("is refused at %s before the engine is asked", async (path) => {
    const response = await host.post(path, bodyFor(MODEL.id, path));
    expect([response.status, response.headers.get("retry-after"), response.headers.get("retry-after-ms")]).toEqual([
      429,
      "13",
      "12300",
    ]);
    expect([host.models.requests, host.models.embedRequests]).toEqual([[], []]);
  });
});

test("embeddings take their tokens off the limits, and what they used stays taken", async () => {
  const taken: number[] = [];
  const settled: number[] = [];
  const host = scriptedHost({
    limits: {
      take: async (_, numTokens) => {
        taken.push(numTokens);
        return { headers: { "x-ratelimit-remaining-tokens": "9" }, settle: async (num) => void settled.push(num) };
      },
    },
  });
  const input = ["word ".repeat(40), "more ".repeat(40)];
  for (const path of ["/v1/embeddings", "/api/embed"]) {
    const response = await host.post(path, { model: MODEL.id, input });
    expect([response.status, response.headers.get("x-ratelimit-remaining-tokens")]).toEqual([200, "9"]);
  }
  expect(taken).toEqual([100, 100]);
  expect(settled).toEqual([6, 6]);
  await host.post("/tokenize", { model: MODEL.id, prompt: "Hi" });
  await host.post("/detokenize", { model: MODEL.id, tokens: [72] });
  expect(taken.slice(2)).toEqual([0, 0]);
});

describe("a kept response", () => {
  const responseOf = async (host: Host) =>
    (await (await host.post("/v1/responses", { model: MODEL.id, input: "Hi", store: true })).json()) as { id: string };

  test("does not exist for another key", async () => {
    let caller: Caller = { keyId: "key_anne00000000", models: null };
    const host = scriptedHost({ authorize: () => caller });
    const { id } = await responseOf(host);
    const ask = (method: string) => host.app.request(`${ORIGIN}/v1/responses/${id}`, { method });
    expect((await ask("GET")).status).toBe(200);
    const numAsked = host.models.requests.length;
    caller = { keyId: "key_bert00000000", models: null };
    for (const method of ["GET", "DELETE"]) expect([method, (await ask(method)).status]).toEqual([method, 404]);
    const next = { model: CHAT.model, input: "And?", previous_response_id: id };
    const refused = await host.post("/v1/responses", next);
    expect([refused.status, (await errorOf(refused)).code]).toEqual([400, "previous_response_not_found"]);
    expect(host.models.requests.length).toBe(numAsked);
    caller = { keyId: "key_anne00000000", models: null };
    expect((await ask("GET")).status).toBe(200);
    expect((await host.post("/v1/responses", next)).status).toBe(200);
  });
});
