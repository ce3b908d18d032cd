/** TGI's routes, embeddings and tokens. */
import OpenAI from "openai";
import { beforeEach, describe, expect, test } from "vitest";
import packageJson from "../../../package.json" with { type: "json" };
import { overloaded, unauthorized } from "../../../src/protocol/errors.ts";
import { VERSION } from "../../../src/protocol/version.ts";
import { delta, done, fault, finish, start, token } from "../protocol/events.ts";
import { errorOf, type Host, MODEL, ORIGIN, scriptedHost } from "./scripted-host.ts";

let host: Host;
beforeEach(() => {
  host = scriptedHost();
});

const get = (path: string, init: RequestInit = {}) => host.app.request(`${ORIGIN}${path}`, init);
const jsonOf = async (path: string, body: unknown) => (await host.post(path, body)).json();

describe("TGI", () => {
  test("generates with the first model, whole and as a list", async () => {
    expect(await jsonOf("/generate", { inputs: "Hi" })).toEqual({ generated_text: "Hello you" });
    expect(await jsonOf("/", { inputs: "Hi" })).toEqual([{ generated_text: "Hello you" }]);
    expect(host.models.requests.map(({ request }) => request.model)).toEqual([MODEL.id, MODEL.id]);
    await host.post("/generate", { inputs: "Hi", parameters: { adapter_id: "lora" } });
    expect(host.models.requests[2]!.request.model).toBe("lora");
  });

  test("streams tokens", async () => {
    host.models.script = [
      start(),
      delta("Hi", 0, [token("Hi", -1)]),
      delta("!", 0, [token("!", -2)]),
      finish(),
      done(),
    ];
    for (const [path, body] of [
      ["/generate_stream", { inputs: "Hi" }],
      ["/", { inputs: "Hi", stream: true }],
    ] as const) {
      const response = await host.post(path, body);
      expect(response.headers.get("content-type")).toContain("text/event-stream");
      const text = await response.text();
      const events = text
        .trimEnd()
        .split("\n\n")
        .map((event) => JSON.parse(event.replace(/^data: /, "")));
      expect(events.map((event) => event.generated_text)).toEqual([null, "Hi!"]);
      expect(text).not.toContain("[DONE]");
    }
  });

  test("has its own errors", async () => {
    const refused = await host.post("/generate", { inputs: "" });
    expect([refused.status, await refused.json()]).toEqual([
      422,
      { error: expect.stringContaining("'inputs'"), error_type: "validation" },
    ]);
    const wrongMethod = await get("/generate");
    expect([wrongMethod.status, await wrongMethod.json()]).toMatchObject([405, { error_type: "validation" }]);
    host.models.script = overloaded(9, 8);
    const busy = await host.post("/generate_stream", { inputs: "Hi" });
    expect([busy.status, busy.headers.get("retry-after")]).toEqual([429, "1"]);
    host.models.script = [start(), delta("Hi", 0, [token("Hi", -1)]), fault()];
    const broken = await (await host.post("/generate_stream", { inputs: "Hi" })).text();
    expect(broken).toMatch(/^data: \{"error":"Internal error[^\n]*"error_type":"incomplete_generation"\}\n\n$/);
  });

  test("describes its model", async () => {
    const info = await (await get("/info")).json();
    expect(info).toMatchObject({ model_id: MODEL.id, max_total_tokens: 512, router: "runnel", version: VERSION });
    host.models.list = [];
    expect((await get("/info")).status).toBe(503);
  });

  test("lets Ollama's clients look for it at the root", async () => {
    expect(await (await get("/")).text()).toBe("Ollama is running");
    expect((await get("/", { method: "HEAD" })).status).toBe(200);
  });
});

describe("embeddings", () => {
  const client = () =>
    new OpenAI({
      apiKey: "any",
      baseURL: `${ORIGIN}/v1`,
      maxRetries: 0,
      fetch: async (url, init) => host.app.fetch(new Request(url as string, init as RequestInit)),
    });

  test("reach the openai client, which asks for base64, and one that wants numbers", async () => {
    host.models.embed = async ({ model }) => ({
      model,
      vectors: [Float32Array.of(0.6, -0.8), Float32Array.of(1, 0)],
      promptTokens: 4,
    });
    for (const format of [undefined, "float", "base64"] as const) {
      const { data, usage } = await client().embeddings.create({
        model: "m",
        input: ["a", "b"],
        ...(format && { encoding_format: format }),
      });
      expect(data.map(({ index }) => index)).toEqual([0, 1]);
      if (format === "base64") expect(data[0]!.embedding).toBe("mpkZP83MTL8=");
      else expect(data[0]!.embedding.map((value) => value.toFixed(3))).toEqual(["0.600", "-0.800"]);
      expect(usage).toEqual({ prompt_tokens: 4, total_tokens: 4 });
    }
  });

  test.each<[unknown, object[]]>([
    ["a", [{ kind: "text", text: "a" }]],
    [
      ["a", "b"],
      [
        { kind: "text", text: "a" },
        { kind: "text", text: "b" },
      ],
    ],
    [[1, 2], [{ kind: "tokens", tokens: [1, 2] }]],
    [
      [[1], [2, 3]],
      [
        { kind: "tokens", tokens: [1] },
        { kind: "tokens", tokens: [2, 3] },
      ],
    ],
  ])("take %j", async (input, prompts) => {
    await host.post("/v1/embeddings", { model: "m", input, dimensions: 3 });
    expect(host.models.embedRequests[0]).toMatchObject({ prompts, dimensions: 3, truncate: false });
  });

  test.each([
    [{ model: "m" }, "input"],
    [{ model: "m", input: [] }, "input"],
    [{ model: "m", input: "a", dimensions: 0 }, "dimensions"],
    [{ model: "m", input: "a", encoding_format: "int8" }, "encoding_format"],
    [{ input: "a" }, "model"],
  ])("refuse %j for %s", async (body, param) => {
    const response = await host.post("/v1/embeddings", body);
    expect([response.status, (await errorOf(response)).param]).toEqual([400, param]);
  });
});

describe("tokens", () => {
  test("of prompts and chats, in vLLM's shape", async () => {
    expect(await jsonOf("/tokenize", { model: "m", prompt: "ab", return_token_strs: true })).toEqual({
      count: 2,
      max_model_len: 2048,
      tokens: [97, 98],
      token_strs: ["a", "b"],
    });
    expect(await jsonOf("/tokenize", { messages: [{ role: "user", content: "abc" }] })).toMatchObject({
      count: 3,
      token_strs: null,
    });
  });

  test("in TGI's shape where a body has inputs", async () => {
    expect(await jsonOf("/tokenize", { inputs: "ab" })).toEqual([
      { id: 97, text: "a", start: 0, stop: 1 },
      { id: 98, text: "b", start: 1, stop: 2 },
    ]);
  });

  test("and back", async () => {
    expect(await jsonOf("/detokenize", { model: "m", tokens: [97, 98] })).toEqual({ prompt: "ab" });
  });

  test.each<[string, object, string]>([
    ["/tokenize", {}, "prompt"],
    ["/tokenize", { prompt: "a", inputs: "b" }, "prompt"],
    ["/tokenize", { prompt: 5 }, "prompt"],
    ["/tokenize", { messages: [] }, "messages"],
    ["/tokenize", { prompt: "a", chat_template: "x" }, "chat_template"],
    ["/detokenize", {}, "tokens"],
    ["/detokenize", { tokens: "ab" }, "tokens"],
    ["/detokenize", { tokens: [1, -1] }, "tokens.1"],
  ])("%s refuses %j for %s", async (path, body, param) => {
    const response = await host.post(path, body);
    expect([response.status, (await errorOf(response)).param]).toEqual([400, param]);
  });

  test("are of a server with the package's version", async () => {
    expect(await (await get("/version")).json()).toEqual({ version: packageJson.version });
  });
});

test("a wrong key reaches no engine on any of them", async () => {
  host = scriptedHost({
    authorize: () => {
      throw unauthorized();
    },
  });
  const bodies: [string, object][] = [
    ["/generate", { inputs: "a" }],
    ["/generate_stream", { inputs: "a" }],
    ["/", { inputs: "a" }],
    ["/tokenize", { prompt: "a" }],
    ["/detokenize", { tokens: [1] }],
    ["/v1/embeddings", { model: "m", input: "a" }],
  ];
  for (const [path, body] of bodies) expect((await host.post(path, body)).status).toBe(401);
  for (const path of ["/info", "/version"]) expect((await get(path)).status).toBe(401);
  expect([host.models.requests, host.models.embedRequests]).toEqual([[], []]);
});
