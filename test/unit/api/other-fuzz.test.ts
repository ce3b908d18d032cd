/**
 * Whatever a client sends to the routes of Ollama, TGI and vLLM, the answer is a 200 or a refusal in that API's shape;
 * never a 500, and never a 200 that the engine was not asked for.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { checkRequest } from "../protocol/request-bodies.ts";
import { texts } from "../protocol/texts.ts";
import { scriptedHost } from "./scripted-host.ts";

const NUM_RUNS = 4_000;

const value = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(null, true, false, 0, -1, 1, 1.5, 1e308, 2 ** 53, "", "x", "json", "5m", [], {}, [[]], [1, 2], ["a"]),
  texts,
);

const often = <T>(arbitrary: fc.Arbitrary<T>) => fc.oneof({ weight: 5, arbitrary }, value);
const some = (fields: Record<string, fc.Arbitrary<unknown>>) => fc.record(fields, { requiredKeys: [] });

const call = some({
  id: value,
  function: often(some({ name: often(fc.constant("f")), arguments: often(fc.object()) })),
});
const message = some({
  role: often(fc.constantFrom("user", "assistant", "system", "tool")),
  content: often(fc.string()),
  ...{ thinking: often(fc.string()), images: value, tool_name: often(fc.constant("f")), tool_call_id: value },
  tool_calls: often(fc.array(call, { maxLength: 3 })),
});

const options = some({
  temperature: often(fc.double({ min: 0, max: 2, noNaN: true })),
  num_predict: often(fc.integer({ min: -2, max: 20 })),
  stop: often(fc.array(fc.string({ minLength: 1 }))),
  ...Object.fromEntries(
    ["top_k", "top_p", "min_p", "seed", "repeat_penalty", "repeat_last_n", "presence_penalty", "frequency_penalty"]
      .concat("mirostat", "typical_p", "num_ctx", "__proto__")
      .map((name) => [name, value]),
  ),
});

const parameters = some({
  ...{ temperature: often(fc.double({ min: 0.1, max: 2, noNaN: true })), max_new_tokens: often(fc.nat(20)) },
  ...{ do_sample: often(fc.boolean()), details: often(fc.boolean()), decoder_input_details: often(fc.boolean()) },
  grammar: often(some({ type: often(fc.constantFrom("json", "regex", "json_schema")), value })),
  ...Object.fromEntries(
    [
      "top_k",
      "top_p",
      "seed",
      "stop",
      "repetition_penalty",
      "return_full_text",
      "top_n_tokens",
      "best_of",
      "adapter_id",
    ]
      .concat("truncate", "watermark", "typical_p", "frequency_penalty")
      .map((name) => [name, value]),
  ),
});

const FIELDS: Record<string, fc.Arbitrary<unknown>> = {
  model: often(fc.constant("m")),
  messages: often(fc.array(message, { maxLength: 4 })),
  prompt: often(fc.string()),
  inputs: often(fc.string()),
  input: often(fc.oneof(fc.string(), fc.array(fc.string()), fc.array(fc.nat()))),
  tokens: often(fc.array(fc.nat(0xd7ff))),
  options: often(options),
  parameters: often(parameters),
  stream: often(fc.boolean()),
  ...Object.fromEntries(
    ["format", "think", "keep_alive", "system", "raw", "logprobs", "top_logprobs", "suffix", "template", "context"]
      .concat("images", "tools", "truncate", "dimensions", "encoding_format", "name", "add_special_tokens", "__proto__")
      .map((name) => [name, value]),
  ),
};

const bodies = fc
  .subarray(Object.keys(FIELDS), { maxLength: 5 })
  .chain((names) => fc.record(Object.fromEntries(names.map((name) => [name, FIELDS[name]!]))));

/** What makes a body complete, unless a field of it is drawn. */
const PATHS: Record<string, object> = {
  "/api/chat": { model: "m", messages: [{ role: "user", content: "hi" }] },
  "/api/generate": { model: "m", prompt: "hi" },
  "/api/embed": { model: "m", input: "hi" },
  "/api/embeddings": { model: "m", prompt: "hi" },
  "/api/show": { model: "org/demo" },
  "/generate": { inputs: "hi" },
  "/generate_stream": { inputs: "hi" },
  "/": { inputs: "hi" },
  "/tokenize": {},
  "/detokenize": { tokens: [1] },
  "/v1/embeddings": { model: "m", input: "hi" },
};

function checkRefusal(path: string, status: number, text: string): void {
  const body = JSON.parse(text);
  const isOllama = path.startsWith("/api/");
  const isTgi = ["/", "/generate", "/generate_stream"].includes(path);
  if (isOllama) expect(body).toEqual({ error: expect.any(String) });
  else if (isTgi) expect(body).toEqual({ error: expect.any(String), error_type: "validation" });
  else expect(Object.keys(body.error).sort()).toEqual(["code", "message", "param", "type"]);
  expect([isTgi ? 422 : 400, ...(path === "/api/show" ? [404] : [])]).toContain(status);
  expect(text.length).toBeLessThan(1000);
}

test(`${NUM_RUNS} bodies never give a 500`, { timeout: 300_000 }, async () => {
  const host = scriptedHost();
  const numByStatus = new Map<number, number>();
  await fc.assert(
    fc.asyncProperty(bodies, fc.constantFrom(...Object.keys(PATHS)), async (fields, path) => {
      host.models.requests.length = 0;
      const response = await host.post(path, { ...PATHS[path], ...fields });
      const text = await response.text();
      numByStatus.set(response.status, (numByStatus.get(response.status) ?? 0) + 1);
      for (const { request } of host.models.requests) checkRequest(request);
      if (response.status === 200) {
        expect(text).not.toContain("Internal error");
      } else {
        expect(host.models.requests).toEqual([]);
        checkRefusal(path, response.status, text);
      }
    }),
    { numRuns: NUM_RUNS },
  );
  // Both sides of the border were tried.
  expect(numByStatus.get(200)).toBeGreaterThan(NUM_RUNS / 10);
  expect(numByStatus.get(400)).toBeGreaterThan(NUM_RUNS / 10);
  expect(numByStatus.get(422)).toBeGreaterThan(NUM_RUNS / 50);
});
