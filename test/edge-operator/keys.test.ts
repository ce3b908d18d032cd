/** Who gets in, and to what: keys, models, tenants. What is refused reaches no object and no origin. */

import { listDurableObjectIds } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, describe, expect, test } from "vitest";
import { isolateEngine } from "../../src/edge/isolate-engine.ts";
import { callsTo } from "../edge/origins/upstream.ts";
import { addTinyModel, answerOf, chat, errorOf, post, request, STREAM } from "../edge/stack.ts";
import { getAs, postAs, sessionAs } from "./asking.ts";
import { ALLOWED_MODEL, keyText } from "./key-config.ts";

const OTHER_MODEL = "operator-other";

beforeAll(async () => {
  await addTinyModel(ALLOWED_MODEL);
  await addTinyModel(OTHER_MODEL);
});

const numObjects = async () => {
  const ids = await Promise.all([
    listDurableObjectIds(env.ENGINE_LANE),
    listDurableObjectIds(env.CHAT_SESSION),
    listDurableObjectIds(env.SESSION_DIRECTORY),
    listDurableObjectIds(env.RESPONSE_CONVERSATION),
    listDurableObjectIds(env.RATE_LIMITER),
    listDurableObjectIds(env.METRICS_HUB),
  ]);
  return ids.flat().length;
};

describe("a request without a right key", () => {
  const HEADERS: [string, Record<string, string>][] = [
    ["no key", {}],
    ["a wrong key", { authorization: "Bearer rk_wrong" }],
    ["a right key with more behind it", { authorization: `Bearer ${keyText("anne")}x` }],
    ["the beginning of a right key", { authorization: `Bearer ${keyText("anne").slice(0, -1)}` }],
    ["another scheme", { authorization: `Basic ${keyText("anne")}` }],
    ["an empty key", { "x-api-key": " " }],
    ["the hash of a key", { authorization: `Bearer ${JSON.parse(env.API_KEYS!)[0].sha256}` }],
    ["an expired key", { authorization: `Bearer ${keyText("expired")}` }],
  ];

  test.each(HEADERS)("(%s) is refused everywhere, and nothing is woken or asked", async (_name, headers) => {
    const id = "a".repeat(32);
    const attempts: [string, string, unknown?][] = [
      ["GET", "/v1/models"],
      ["POST", "/v1/chat/completions", chat(ALLOWED_MODEL, "Hi", 4)],
      ["POST", "/v1/completions", { model: "pair", prompt: "Hi", max_tokens: 4 }],
      ["POST", "/v1/sessions", { model: ALLOWED_MODEL }],
      ["GET", "/v1/sessions"],
      ["GET", `/v1/sessions/${id}`],
      ["POST", `/v1/sessions/${id}/messages`, { content: "Hi" }],
      ["GET", "/nothing/here"],
    ];
    const [before, callsBefore] = [await numObjects(), await numCalls()];
    for (const [method, path, body] of attempts) {
      const init = body === undefined ? {} : { body: JSON.stringify(body) };
      const response = await request(path, {
        method,
        headers: { "content-type": "application/json", ...headers },
        ...init,
      });
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
      expect(await errorOf(response)).toMatchObject({
        status: 401,
        type: "invalid_request_error",
        code: "invalid_api_key",
      });
    }
    expect([await numObjects(), await numCalls()]).toEqual([before, callsBefore]);
    expect(isolateEngine.numGenerations).toBe(0);
  });

  async function numCalls(): Promise<number> {
    return (await callsTo("left")).length + (await callsTo("right")).length;
  }

  test("is told so as the path's clients read it, and wakes nothing there", async () => {
    const messages = [{ role: "user", content: "Hi" }];
    const ollama = { error: expect.stringContaining("API key") };
    const tgi = { ...ollama, error_type: "validation" };
    const openai = { error: expect.objectContaining({ code: "invalid_api_key", type: "invalid_request_error" }) };
    const attempts: [path: string, body: object | null, shape: object][] = [
      ["/v1/responses", { model: ALLOWED_MODEL, input: "Hi" }, openai],
      [`/v1/responses/resp_${"a".repeat(48)}`, null, openai],
      ["/v1/embeddings", { model: ALLOWED_MODEL, input: "Hi" }, openai],
      ["/tokenize", { model: ALLOWED_MODEL, prompt: "Hi" }, openai],
      ["/detokenize", { model: ALLOWED_MODEL, tokens: [1] }, openai],
      ["/version", null, openai],
      ["/api/chat", { model: ALLOWED_MODEL, messages }, ollama],
      ["/api/generate", { model: ALLOWED_MODEL, prompt: "Hi" }, ollama],
      ["/api/embed", { model: ALLOWED_MODEL, input: "Hi" }, ollama],
      ["/api/tags", null, ollama],
      ["/api/ps", null, ollama],
      ["/generate", { inputs: "Hi" }, tgi],
      ["/generate_stream", { inputs: "Hi" }, tgi],
      ["/info", null, tgi],
    ];
    const before = await numObjects();
    for (const [path, body, shape] of attempts) {
      const response = body === null ? await request(path) : await post(path, body);
      expect([path, response.status]).toEqual([path, 401]);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
      expect(await response.json()).toEqual(shape);
    }
    expect([await numObjects(), isolateEngine.numGenerations]).toEqual([before, 0]);
  });

  test("opens no socket", async () => {
    const id = await sessionAs("anne", ALLOWED_MODEL);
    const response = await request(`/v1/sessions/${id}/ws`, { headers: { upgrade: "websocket" } });
    expect([response.status, response.webSocket]).toEqual([401, null]);
  });
});

test("a key comes as a Bearer token or as x-api-key", async () => {
  expect((await getAs("anne", "/v1/models")).status).toBe(200);
  expect((await request("/v1/models", { headers: { "x-api-key": keyText("anne") } })).status).toBe(200);
});

test("probes need no key, and tell those without one nothing but whether it runs", async () => {
  expect(await (await request("/health")).json()).toEqual({ status: "ok" });
  const open = (await (await request("/ready")).json()) as object;
  expect(Object.keys(open).sort()).toEqual(["engine", "model", "status"]);
  expect(await (await getAs("anne", "/ready")).json()).toHaveProperty("stats.numSteps");
});

describe("a key for one model", () => {
  test("gets that one and lists no other", async () => {
    const { data } = (await (await getAs("picky", "/v1/models")).json()) as { data: { id: string }[] };
    expect(data.map(({ id }) => id)).toEqual([ALLOWED_MODEL]);
    expect((await getAs("picky", `/v1/models/${ALLOWED_MODEL}`)).status).toBe(200);
    await answerOf(await postAs("picky", "/v1/chat/completions", chat(ALLOWED_MODEL, "Hi", 4)));
  });

  test("is refused any other with 403, whatever route and tier", async () => {
    const before = (await callsTo("left")).length;
    for (const response of [
      await postAs("picky", "/v1/chat/completions", chat(OTHER_MODEL, "Hi", 4)),
      await postAs("picky", "/v1/completions", { model: "pair", prompt: "Hi" }),
      await postAs("picky", "/v1/sessions", { model: OTHER_MODEL }),
      await getAs("picky", `/v1/models/${OTHER_MODEL}`),
    ]) {
      const error = await errorOf(response);
      expect(error).toMatchObject({ status: 403, type: "permission_error", code: "model_not_allowed", param: "model" });
      expect(error.message).toContain(ALLOWED_MODEL);
    }
    expect((await callsTo("left")).length).toBe(before);
  });

  test("is refused any other by Ollama's, TGI's and vLLM's routes, and finds it in none of their lists", async () => {
    const numBefore = isolateEngine.numGenerations;
    for (const [path, body] of [
      ["/v1/responses", { model: OTHER_MODEL, input: "Hi" }],
      ["/v1/embeddings", { model: OTHER_MODEL, input: "Hi" }],
      ["/api/chat", { model: OTHER_MODEL, messages: [{ role: "user", content: "Hi" }] }],
      ["/api/embed", { model: OTHER_MODEL, input: "Hi" }],
      ["/api/show", { model: OTHER_MODEL }],
      ["/generate", { inputs: "Hi", parameters: { adapter_id: OTHER_MODEL } }],
      ["/tokenize", { model: OTHER_MODEL, prompt: "Hi" }],
      ["/detokenize", { model: OTHER_MODEL, tokens: [1] }],
    ] as const) {
      expect([path, (await postAs("picky", path, body)).status]).toEqual([path, 403]);
    }
    expect(isolateEngine.numGenerations).toBe(numBefore);
    for (const path of ["/api/tags", "/api/ps"]) {
      const { models } = (await (await getAs("picky", path)).json()) as { models: { name: string }[] };
      expect(models.every(({ name }) => name.startsWith(ALLOWED_MODEL))).toBe(true);
    }
    expect(await (await getAs("picky", "/info")).json()).toMatchObject({ model_id: ALLOWED_MODEL });
  });

  test("has it as the model of sessions that name none", async () => {
    const response = await postAs("picky", "/v1/sessions", {});
    expect(await response.json()).toMatchObject({ model: ALLOWED_MODEL });
  });
});

describe("tenants", () => {
  test("another key's session does not exist, whatever is asked of it", async () => {
    const id = await sessionAs("anne", ALLOWED_MODEL);
    const said = await postAs("anne", `/v1/sessions/${id}/messages`, {
      content: "My secret",
      max_tokens: 4,
      ...STREAM,
    });
    await answerOf(said);
    for (const [method, path, body] of [
      ["GET", ""],
      ["GET", "/stream"],
      ["POST", "/messages", { content: "And?" }],
      ["POST", "/regenerate", {}],
      ["PUT", "/messages/1", { content: "Other" }],
      ["POST", "/fork", {}],
      ["POST", "/stop"],
      ["DELETE", ""],
    ] as [string, string, unknown?][]) {
      const path404 = `/v1/sessions/${id}${path}`;
      const response =
        body === undefined
          ? await request(path404, { method, headers: { authorization: `Bearer ${keyText("bert")}` } })
          : await postAs("bert", path404, body, { method });
      expect([path, (await errorOf(response)).status]).toEqual([path, 404]);
    }
    const socket = await getAs("bert", `/v1/sessions/${id}/ws`, { upgrade: "websocket" });
    expect(socket.status).toBe(404);
    const kept = (await (await getAs("anne", `/v1/sessions/${id}`)).json()) as { messages: unknown[] };
    expect(kept.messages).toHaveLength(2);
  });

  test("a key lists its own sessions, and those of an owner behind it apart", async () => {
    const owner = { "x-runnel-owner": "o".repeat(32) };
    const [own, owned] = [await sessionAs("bert", ALLOWED_MODEL), await sessionAs("bert", ALLOWED_MODEL, owner)];
    const listed = async (name: "anne" | "bert", headers = {}) => {
      const { data } = (await (await getAs(name, "/v1/sessions", headers)).json()) as { data: { id: string }[] };
      return data.map(({ id }) => id);
    };
    expect(await listed("bert")).toEqual([own]);
    expect(await listed("bert", owner)).toEqual([owned]);
    expect(await listed("anne", owner)).toEqual([]);
    expect(await listed("anne")).not.toContain(own);
  });

  test("another key's kept response does not exist, and nothing goes on from it", async () => {
    const kept = { model: ALLOWED_MODEL, input: "My secret", max_output_tokens: 4, store: true };
    const { id } = (await (await postAs("anne", "/v1/responses", kept)).json()) as { id: string };
    expect((await getAs("anne", `/v1/responses/${id}`)).status).toBe(200);
    expect((await getAs("bert", `/v1/responses/${id}`)).status).toBe(404);
    const removed = await postAs("bert", `/v1/responses/${id}`, {}, { method: "DELETE" });
    expect(removed.status).toBe(404);
    const next = { model: ALLOWED_MODEL, input: "And?", max_output_tokens: 4, previous_response_id: id };
    expect((await errorOf(await postAs("bert", "/v1/responses", next))).code).toBe("previous_response_not_found");
    expect((await postAs("anne", "/v1/responses", next)).status).toBe(200);
  });

  test("a fork finds its history and cached blocks under the same key", async () => {
    const id = await sessionAs("anne", ALLOWED_MODEL);
    const question = { content: "A long question about rivers and boats. ".repeat(4), max_tokens: 20, ...STREAM };
    await answerOf(await postAs("anne", `/v1/sessions/${id}/messages`, question));
    const fork = (await (await postAs("anne", `/v1/sessions/${id}/fork`, {})).json()) as {
      id: string;
      messages: unknown[];
    };
    expect(fork.messages).toHaveLength(2);
    const next = { content: "And then?", max_tokens: 4, ...STREAM };
    const { usage } = await answerOf(await postAs("anne", `/v1/sessions/${fork.id}/messages`, next));
    expect(usage.prompt_tokens_details.cached_tokens).toBeGreaterThan(32);
  });

  test("nobody finds what another key's requests have left in the prefix cache, with any salt", async () => {
    const body = chat(ALLOWED_MODEL, "The same long prefix that both of them send to the server. ".repeat(3), 2);
    const cached = async (name: "anne" | "bert", fields: object = {}) => {
      const { usage } = await answerOf(await postAs(name, "/v1/chat/completions", { ...body, ...fields }));
      return usage.prompt_tokens_details.cached_tokens;
    };
    expect(await cached("anne")).toBe(0);
    expect(await cached("anne")).toBeGreaterThan(64);
    const { id: anne } = JSON.parse(env.API_KEYS!)[0] as { id: string };
    for (const cache_salt of [undefined, `${anne}:`, anne]) expect(await cached("bert", { cache_salt })).toBe(0);
  });
});

test("a body is not even read for a request without a key", async () => {
  const response = await post("/v1/chat/completions", "not json at all {{{");
  expect((await errorOf(response)).status).toBe(401);
});
