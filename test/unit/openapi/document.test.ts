/** /openapi.json says what the code does: the same routes, bodies that decoders accept, answers that come. */
import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { describe, expect, test } from "vitest";
import { openApiDocument, openApiPath } from "../../../scripts/openapi/document.ts";
import type { Env } from "../../../src/edge/env.ts";
import { metricsRoutes } from "../../../src/edge/metrics/metrics-routes.ts";
import { CHAT, scriptedHost } from "../api/scripted-host.ts";

interface Media {
  content?: Record<string, { schema: object }>;
}
interface WireOperation {
  operationId: string;
  summary: string;
  tags: string[];
  security?: object[];
  parameters?: { name: string; in: string; required?: boolean }[];
  requestBody?: Media;
  responses: Record<string, Media & { description: string }>;
}
interface WireDocument {
  openapi: string;
  paths: Record<string, Record<string, WireOperation>>;
  components: { schemas: Record<string, object> };
}

const document: WireDocument = JSON.parse(JSON.stringify(openApiDocument()));
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

const ajv = new Ajv2020({ strict: false, logger: false });
formats.default(ajv);
ajv.addSchema({ $id: "document", ...document });

/** @returns what is wrong with the value, or null */
function faultsOf(pointer: string, value: unknown): unknown {
  const check = ajv.getSchema(`document#${pointer}`);
  if (check === undefined) throw new Error(`The document has nothing at ${pointer}.`);
  return check(value) ? null : check.errors;
}

test("has the routes of the code, all of them and no others", () => {
  const ofApi = scriptedHost()
    .app.routes.filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${openApiPath(path)}`);
  const ofMetrics = metricsRoutes({} as Env, "1").flatMap(({ path, methods }) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  );
  const written = operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`);
  expect(written.sort()).toEqual([...ofApi, ...ofMetrics].sort());
});

describe("every operation", () => {
  test("has an id of its own, a summary, a tag, an answer and refusals", () => {
    expect(document.openapi).toMatch(/^3\.1\./);
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { operation } of operations) {
      expect(operation.summary).toMatch(/^[A-Z].*[^.]$/);
      expect(operation.tags).toHaveLength(1);
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(["4XX", "5XX"]));
      expect(Object.keys(operation.responses).length).toBeGreaterThan(2);
      for (const { description } of Object.values(operation.responses)) expect(description).not.toBe("");
    }
  });

  test("declares the parameters of its path", () => {
    for (const { path, operation } of operations) {
      const inPath = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
      expect(inPath.every(({ required }) => required === true)).toBe(true);
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
    }
  });
});

test("every reference leads to a schema that compiles", () => {
  const names = new Set(
    [...JSON.stringify(document).matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, name]) => name),
  );
  expect([...names].sort()).toEqual(Object.keys(document.components.schemas).sort());
  for (const name of names) expect(ajv.getSchema(`document#/components/schemas/${name}`)).toBeTypeOf("function");
});

const TOOL = { type: "function", function: { name: "look_up", parameters: { type: "object" } } };
const MODEL = CHAT.model;

/** Bodies that the decoders accept; the scripted model gives one choice. */
const ACCEPTED: [path: string, body: Record<string, unknown>][] = [
  ["/v1/chat/completions", CHAT],
  ["/v1/chat/completions", { ...CHAT, temperature: 0, top_p: 0.5, seed: 7, n: 1, stop: ["a", "b"], max_tokens: 4 }],
  ["/v1/chat/completions", { ...CHAT, messages: [{ role: "user", content: [{ type: "text", text: "Hi" }] }] }],
  ["/v1/chat/completions", { ...CHAT, tools: [TOOL], tool_choice: "auto" }],
  ["/v1/chat/completions", { ...CHAT, response_format: { type: "json_object" }, logprobs: true, top_logprobs: 2 }],
  ["/v1/chat/completions", { ...CHAT, temperature: null, stop: null, user: "me" }],
  ["/v1/completions", { model: MODEL, prompt: "Hi" }],
  ["/v1/completions", { model: MODEL, prompt: ["Hi"], echo: true, logprobs: 1, logit_bias: { "5": -1 } }],
  ["/v1/completions", { model: MODEL, prompt: [1, 2, 3], stop: "x" }],
  ["/v1/responses", { model: MODEL, input: "Hi" }],
  ["/v1/responses", { model: MODEL, input: [{ role: "user", content: "Hi" }], instructions: "Be short", store: false }],
  ["/v1/embeddings", { model: MODEL, input: "Hi" }],
  ["/v1/embeddings", { model: MODEL, input: ["Hi", "you"], encoding_format: "base64" }],
  ["/v1/sessions", {}],
  ["/v1/sessions", { model: MODEL, system: "Be short", title: "One" }],
  ["/api/chat", { ...CHAT, stream: false }],
  ["/api/chat", { ...CHAT, stream: false, options: { temperature: 0, num_predict: 4 } }],
  ["/api/generate", { model: MODEL, prompt: "Hi", stream: false }],
  ["/api/embed", { model: MODEL, input: ["Hi"] }],
  ["/api/embeddings", { model: MODEL, prompt: "Hi" }],
  ["/api/show", { model: MODEL }],
  ["/generate", { inputs: "Hi" }],
  ["/generate", { inputs: "Hi", parameters: { max_new_tokens: 4, seed: 1, details: true } }],
  ["/tokenize", { prompt: "Hi" }],
  ["/tokenize", { inputs: "Hi" }],
  ["/detokenize", { tokens: [1, 2] }],
];

const pointerTo = (path: string, rest: string) => `/paths/${path.replaceAll("/", "~1")}/post/${rest}`;
const JSON_SCHEMA = "content/application~1json/schema";

test.each(ACCEPTED)("%s takes %j and answers as the document says", async (path, body) => {
  const response = await scriptedHost().post(path, body);
  const answer = await response.json();
  expect([response.ok, answer]).toEqual([true, expect.anything()]);
  expect(faultsOf(pointerTo(path, `requestBody/${JSON_SCHEMA}`), body)).toBeNull();
  expect(faultsOf(pointerTo(path, `responses/${response.status}/${JSON_SCHEMA}`), answer)).toBeNull();
});

test.each(["/v1/chat/completions", "/v1/embeddings", "/api/chat", "/generate", "/tokenize"])(
  "%s refuses in the shape of the document",
  async (path) => {
    const response = await scriptedHost().post(path, { model: 5 });
    expect([400, 422]).toContain(response.status);
    expect(faultsOf(pointerTo(path, `responses/4XX/${JSON_SCHEMA}`), await response.json())).toBeNull();
  },
);

test("a body that decoders refuse for its types is wrong in the document too", () => {
  const chat = pointerTo("/v1/chat/completions", `requestBody/${JSON_SCHEMA}`);
  for (const body of [{}, { ...CHAT, temperature: "hot" }, { ...CHAT, messages: [] }]) {
    expect(faultsOf(chat, body)).not.toBeNull();
  }
});
