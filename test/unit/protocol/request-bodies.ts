/** Request bodies of every kind: mostly nearly right, so that the deeper checks are reached, too. */
import fc from "fast-check";
import { expect } from "vitest";
import type { GenerateRequest } from "../../../src/protocol/generate.ts";
import { texts } from "./texts.ts";

const value = fc.oneof(
  fc.jsonValue({ maxDepth: 3 }),
  fc.constantFrom(null, true, false, 0, -1, 1, 2, 1.5, 1e308, -1e308, 2 ** 53, "", "x", [], {}, [[]], [1, 2], ["a"]),
  fc.double({ noNaN: true, noDefaultInfinity: true }),
  texts,
);

const nearly = (fields: Record<string, fc.Arbitrary<unknown>>) => fc.record(fields, { requiredKeys: [] });
const name = fc.oneof(fc.constantFrom("f", "g"), value);
const named = nearly({ type: fc.oneof(fc.constant("function"), value), function: nearly({ name }) });
const json = fc.jsonValue({ maxDepth: 3 });
const tool = nearly({
  type: fc.oneof({ weight: 5, arbitrary: fc.constant("function") }, value),
  function: nearly({
    name,
    description: fc.oneof(fc.string(), value),
    parameters: fc.oneof(json, value),
    strict: value,
  }),
});
const toolCall = nearly({
  id: fc.oneof(fc.string(), value),
  type: fc.oneof(fc.constant("function"), value),
  function: nearly({
    name,
    arguments: fc.oneof(
      json.map((one) => JSON.stringify(one)),
      value,
    ),
  }),
});

const message = fc.record(
  {
    role: fc.oneof(fc.constantFrom("user", "assistant", "system", "developer", "tool"), value),
    content: fc.oneof(
      fc.string(),
      fc.array(fc.record({ type: fc.oneof(fc.constant("text"), value), text: fc.oneof(fc.string(), value) })),
      value,
    ),
    name: value,
    tool_calls: fc.oneof(fc.array(toolCall, { maxLength: 3 }), value),
    tool_call_id: fc.oneof(fc.string(), value),
    reasoning_content: fc.oneof(fc.string(), value),
  },
  { requiredKeys: [] },
);

const parts = fc.array(fc.record({ type: fc.oneof(fc.constantFrom("input_text", "refusal"), value), text: texts }));
const item = fc.record(
  {
    type: fc.oneof(fc.constantFrom("message", "function_call", "function_call_output", "reasoning", undefined), value),
    role: fc.oneof(fc.constantFrom("user", "assistant", "developer"), value),
    content: fc.oneof(fc.string(), parts, value),
    call_id: fc.oneof(fc.constantFrom("a", "b"), value),
    name: fc.oneof(fc.constant("f"), value),
    arguments: fc.oneof(fc.constant("{}"), value),
    output: fc.oneof(fc.string(), parts, value),
    id: fc.oneof(fc.string(), value),
  },
  { requiredKeys: [] },
);

/** Fields with values that are often good, so that deeper checks are reached, too. */
const FIELDS: Record<string, fc.Arbitrary<unknown>> = {
  model: fc.oneof({ weight: 9, arbitrary: fc.constant("m") }, value),
  messages: fc.oneof({ weight: 3, arbitrary: fc.array(message, { maxLength: 3 }) }, value),
  prompt: fc.oneof(fc.string(), fc.array(fc.string()), fc.array(fc.nat()), fc.array(fc.array(fc.nat())), value),
  content: fc.oneof(fc.string(), value),
  input: fc.oneof({ weight: 3, arbitrary: fc.array(item, { maxLength: 3 }) }, fc.string(), value),
  n: fc.oneof(fc.integer({ min: 1, max: 4 }), value),
  stop: fc.oneof(fc.string(), fc.array(fc.string()), value),
  logit_bias: fc.oneof(fc.dictionary(fc.nat().map(String), fc.integer({ min: -120, max: 120 })), value),
  stream: fc.oneof(fc.boolean(), value),
  use_beam_search: fc.oneof(fc.boolean(), value),
  early_stopping: fc.oneof(fc.constantFrom(true, "never"), value),
  length_penalty: fc.oneof(fc.double({ min: -10, max: 10, noNaN: true }), value),
  stream_options: fc.oneof(fc.record({ include_usage: fc.boolean() }), value),
  temperature: fc.oneof(fc.double({ min: 0, max: 2, noNaN: true }), value),
  logprobs: fc.oneof(fc.boolean(), fc.nat(6), value),
  top_logprobs: fc.oneof(fc.nat(25), value),
  tools: fc.oneof(fc.array(tool, { maxLength: 3 }), value),
  tool_choice: fc.oneof(fc.constantFrom("none", "auto", "required"), named, value),
  response_format: fc.oneof(
    nearly({
      type: fc.oneof(fc.constantFrom("text", "json_object", "json_schema"), value),
      schema: json,
      json_schema: nearly({ name: fc.string(), schema: json, strict: fc.boolean() }),
    }),
    value,
  ),
  structured_outputs: fc.oneof(
    nearly({ json, regex: fc.string(), choice: fc.array(fc.string()), grammar: fc.string() }),
    value,
  ),
  chat_template_kwargs: fc.oneof(fc.dictionary(fc.string(), json), value),
  ...Object.fromEntries(
    ["top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "seed", "max_tokens", "echo", "best_of"]
      .concat("stop_token_ids", "ignore_eos", "user", "prompt_cache_key", "cache_salt", "max_completion_tokens")
      .concat("parallel_tool_calls", "functions", "function_call", "guided_json", "guided_choice", "reasoning_effort")
      .concat("documents", "grammar", "suffix", "modalities", "title", "system", "__proto__", "junk")
      .concat("instructions", "max_output_tokens", "include", "metadata", "store", "previous_response_id", "text")
      .map((name) => [name, value]),
  ),
};

const CHOSEN = fc.subarray(Object.keys(FIELDS), { maxLength: 6 });
/** Fit for every route; each reads the fields that it knows. */
export const requestBodies: fc.Arbitrary<object> = CHOSEN.chain((names) =>
  fc.record(Object.fromEntries(names.map((name) => [name, FIELDS[name]!]))).map((fields) => ({
    model: "m",
    messages: [{ role: "user", content: "hi" }],
    prompt: "hi",
    content: "hi",
    input: "hi",
    ...fields,
  })),
);

/** What `generate.ts` promises to engines. */
export function checkRequest(request: Omit<GenerateRequest, "requestId" | "model">): void {
  const { sampling } = request;
  expect(request.n).toBeGreaterThanOrEqual(1);
  expect(request.beams?.width ?? request.n).toBeGreaterThanOrEqual(request.n);
  for (const [name, value] of Object.entries(sampling)) {
    if (name !== "logitBias" && name !== "seed") expect(Number.isFinite(value)).toBe(true);
  }
  expect(sampling.repetitionPenalty).toBeGreaterThan(0);
  expect(sampling.topK).toBeGreaterThanOrEqual(0);
  expect(new Set(sampling.logitBias.map(([id]) => id)).size).toBe(sampling.logitBias.length);
  for (const stop of request.stopStrings) expect(stop).not.toBe("");
  if (sampling.seed !== null) expect(Number.isInteger(sampling.seed)).toBe(true);
}
