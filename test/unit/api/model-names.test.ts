import { describe, expect, test } from "vitest";
import { parseModelNames } from "../../../src/api/model-names.ts";
import { modelNotFound } from "../../../src/protocol/errors.ts";
import { CHAT, type Host, MODEL, ORIGIN, scriptedHost } from "./scripted-host.ts";

/** A host that knows `org/demo` and nothing else. */
function hostWith(aliases: unknown, fallback?: string): Host {
  const host = scriptedHost({ names: parseModelNames(aliases, fallback) });
  const { models, sessions } = host;
  const check = (id: string) => {
    if (!models.list.some((model) => model.id === id)) throw modelNotFound(id, [MODEL.id]);
  };
  const generate = models.generate.bind(models);
  models.generate = async (request, key) => {
    check(request.model);
    return generate(request, key);
  };
  const create = sessions.create.bind(sessions);
  sessions.create = async (init, owner) => {
    check(init.model);
    return create(init, owner);
  };
  return host;
}

const ask = (host: Host, model: string) => host.post("/v1/chat/completions", { ...CHAT, model });

test("nothing is another model's name unless it is configured", async () => {
  const host = hostWith(undefined);
  expect((await ask(host, "org/demo")).status).toBe(200);
  expect((await ask(host, "gpt-4o")).status).toBe(404);
});

test("an alias stands for a model on every route", async () => {
  const host = hostWith({ "gpt-4o": "org/demo" });
  const response = await ask(host, "gpt-4o");
  expect([response.status, response.headers.get("x-runnel-fallback")]).toEqual([200, null]);
  for (const path of ["/v1/models/gpt-4o", "/v1/models/gpt-4o:latest"]) {
    expect(await (await host.app.request(`${ORIGIN}${path}`)).json()).toMatchObject({ id: "org/demo" });
  }
  expect((await host.post("/api/show", { model: "gpt-4o:latest" })).status).toBe(200);
  await host.post("/v1/embeddings", { model: "gpt-4o", input: "a" });
  expect(host.models.embedRequests[0]!.model).toBe("org/demo");
  const session = await host.post("/v1/sessions", { model: "gpt-4o" });
  expect(await session.json()).toMatchObject({ model: "org/demo" });
  expect((await ask(host, "other")).status).toBe(404);
});

test("a fallback answers for unknown names, and says so", async () => {
  const host = hostWith("", "org/demo");
  const response = await ask(host, "http://127.0.0.1:8787/v1");
  expect([response.status, response.headers.get("x-runnel-fallback")]).toEqual([200, "org%2Fdemo"]);
  expect((await ask(host, "org/demo")).headers.has("x-runnel-fallback")).toBe(false);
  expect((await host.post("/v1/sessions", { model: "nope" })).status).toBe(201);
});

test("a fallback that is not there is a 404 that names the known models", async () => {
  expect((await ask(hostWith("", "gone"), "nope")).status).toBe(404);
});

test("a tag that is part of an id stays", async () => {
  const host = hostWith("");
  host.models.list = [{ ...MODEL, id: "a:latest" }];
  expect((await ask(host, "a:latest")).status).toBe(200);
  expect((await ask(host, "org/demo:latest")).status).toBe(404);
});

describe("a wrong variable is told:", () => {
  test.each(["{", "[]", "5", '{"a":5}', '{"":"x"}', { a: "" }, ["a"]])("MODEL_ALIASES %j", (aliases) => {
    expect(() => parseModelNames(aliases, undefined)).toThrow("The variable MODEL_ALIASES must be");
  });

  test("MODEL_FALLBACK", () => {
    expect(() => parseModelNames(undefined, "x".repeat(257))).toThrow("The variable MODEL_FALLBACK must be");
  });
});
