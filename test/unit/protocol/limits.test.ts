/** Each bound: its last good value passes, the next is refused with the limit in the message. */
import { expect, test } from "vitest";
import * as bounds from "../../../src/protocol/limits.ts";
import { decodeOllamaChat } from "../../../src/protocol/ollama/chat-request.ts";
import { decodeOllamaEmbed } from "../../../src/protocol/ollama/embed.ts";
import { decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { decodeCompletionRequest } from "../../../src/protocol/openai/completion-request.ts";
import { decodeEmbeddings } from "../../../src/protocol/openai/embeddings.ts";
import { decodeDetokenize, decodeTokenize } from "../../../src/protocol/openai/tokenize.ts";
import { decodeResponseRequest } from "../../../src/protocol/responses/request.ts";
import { decodeSessionInit } from "../../../src/protocol/sessions.ts";
import { decodeTgiRequest } from "../../../src/protocol/tgi/generate-request.ts";
import { caught } from "./caught.ts";

const limits: Record<keyof typeof bounds, number> = { ...bounds };
const USER = { role: "user", content: "hi" };
const chat = (fields: object) => decodeChatRequest({ model: "m", messages: [USER], ...fields }, "r");
const text = (fields: object) => decodeCompletionRequest({ model: "m", prompt: "hi", ...fields }, "r");
const response = (fields: object) => decodeResponseRequest({ model: "m", input: "hi", ...fields }, "r");
const many = <T>(num: number, one: T): T[] => new Array(num).fill(one);
const chars = (num: number) => "x".repeat(num);
const biases = (num: number) => Object.fromEntries(many(num, 0).map((_, id) => [String(id), 1]));
const ollama = (fields: object) => decodeOllamaChat({ model: "m", messages: [USER], ...fields }, "r");
const embeddings = (fields: object) => decodeEmbeddings({ model: "m", input: "a", ...fields }, "r");
const tgi = (parameters: object) => decodeTgiRequest({ inputs: "a", parameters }, "r", true);
const calls = (num: number, values: object = {}) => {
  const tool_calls = many(num, { function: { name: "f", arguments: values } });
  return { role: "assistant", tool_calls };
};
const tool = (name: string, more: object = {}) => ({ type: "function", function: { name, ...more } });
const call = (json: string) => ({ id: "c", type: "function", function: { name: "f", arguments: json } });
const nested = (depth: number): object => {
  let value: object = {};
  for (let level = 1; level < depth; level++) value = { a: value };
  return value;
};
const NO_SCHEMA_CHARS = JSON.stringify({ kind: "schema", schema: { a: "" } }).length;
const part = { type: "text", text: "x" };

/** `accept(limit)` decodes, `accept(limit + step)` is refused for `param`. */
const CASES: [keyof typeof limits, string, (size: number) => unknown, number?][] = [
  ["MESSAGES_MAX", "messages", (size) => chat({ messages: many(size, USER) })],
  [
    "CONTENT_PARTS_MAX",
    "messages.0.content",
    (size) => chat({ messages: [{ role: "user", content: many(size, part) }] }),
  ],
  ["TEXT_CHARS_MAX", "messages.0.content", (size) => chat({ messages: [{ role: "user", content: chars(size) }] })],
  ["TEXT_CHARS_MAX", "prompt", (size) => text({ prompt: chars(size) })],
  ["TEXT_CHARS_MAX", "system", (size) => decodeSessionInit({ system: chars(size) })],
  ["PROMPT_TOKENS_MAX", "prompt", (size) => text({ prompt: many(size, 1) })],
  ["PROMPTS_MAX", "prompt", (size) => text({ prompt: many(size, "a") })],
  ["PROMPTS_MAX", "prompt", (size) => text({ prompt: many(size, [1]) })],
  ["TOKEN_ID_MAX", "prompt.0", (id) => text({ prompt: [id] })],
  ["TOKEN_ID_MAX", "stop_token_ids.0", (id) => chat({ stop_token_ids: [id] })],
  ["CHOICES_PER_PROMPT_MAX", "n", (n) => chat({ n })],
  ["BEAM_WIDTH_MAX", "n", (n) => chat({ use_beam_search: true, n })],
  ["BEAM_WIDTH_MAX", "best_of", (best_of) => text({ use_beam_search: true, best_of })],
  ["LENGTH_PENALTY_ABS_MAX", "length_penalty", (length_penalty) => chat({ use_beam_search: true, length_penalty })],
  ["CHOICES_MAX", "n", (num) => text({ prompt: many(num % 2 === 0 ? num / 2 : (num + 1) / 2, "a"), n: 2 })],
  ["STOP_STRINGS_MAX", "stop", (size) => chat({ stop: many(size, "a") })],
  ["STOP_STRING_CHARS_MAX", "stop", (size) => chat({ stop: chars(size) })],
  ["STOP_STRING_CHARS_MAX", "stop.0", (size) => chat({ stop: [chars(size)] })],
  ["STOP_TOKEN_IDS_MAX", "stop_token_ids", (size) => chat({ stop_token_ids: many(size, 1) })],
  ["ALLOWED_TOKEN_IDS_MAX", "allowed_token_ids", (size) => chat({ allowed_token_ids: many(size, 1) })],
  ["BAD_WORDS_MAX", "bad_words", (size) => chat({ bad_words: many(size, "a") })],
  ["BAD_WORD_CHARS_MAX", "bad_words.0", (size) => chat({ bad_words: [chars(size)] })],
  ["TOP_LOGPROBS_MAX", "top_logprobs", (top_logprobs) => chat({ logprobs: true, top_logprobs })],
  ["COMPLETION_LOGPROBS_MAX", "logprobs", (logprobs) => text({ logprobs })],
  ["LOGIT_BIAS_ENTRIES_MAX", "logit_bias", (size) => chat({ logit_bias: biases(size) })],
  ["LOGIT_BIAS_ABS_MAX", "logit_bias.1", (bias) => chat({ logit_bias: { "1": bias } })],
  ["MAX_TOKENS_MAX", "max_tokens", (max_tokens) => chat({ max_tokens })],
  ["REPETITION_PENALTY_MAX", "repetition_penalty", (repetition_penalty) => chat({ repetition_penalty })],
  ["TEMPERATURE_MAX", "temperature", (temperature) => chat({ temperature })],
  ["PENALTY_ABS_MAX", "presence_penalty", (presence_penalty) => chat({ presence_penalty })],
  ["PENALTY_ABS_MAX", "frequency_penalty", (frequency_penalty) => chat({ frequency_penalty })],
  ["SEED_ABS_MAX", "seed", (seed) => chat({ seed }), 4096],
  ["PRIORITY_ABS_MAX", "priority", (priority) => chat({ priority })],
  ["MODEL_NAME_CHARS_MAX", "model", (size) => chat({ model: chars(size) })],
  ["IDENTIFIER_CHARS_MAX", "cache_salt", (size) => chat({ cache_salt: chars(size) })],
  ["IDENTIFIER_CHARS_MAX", "prompt_cache_key", (size) => chat({ prompt_cache_key: chars(size) })],
  ["IDENTIFIER_CHARS_MAX", "messages.0.name", (size) => chat({ messages: [{ ...USER, name: chars(size) }] })],
  ["MESSAGES_MAX", "input", (size) => response({ input: many(size, USER) })],
  ["TEXT_CHARS_MAX", "input", (size) => response({ input: chars(size) })],
  ["TEXT_CHARS_MAX", "instructions", (size) => response({ instructions: chars(size) })],
  ["RESPONSE_INCLUDES_MAX", "include", (size) => response({ include: many(size, "a") })],
  ["RESPONSE_ITEM_ID_CHARS_MAX", "input.0.id", (size) => response({ input: [{ id: chars(size) }] })],
  [
    "METADATA_ENTRIES_MAX",
    "metadata",
    (size) => response({ metadata: Object.fromEntries(many(size, 0).map((_, i) => [`k${i}`, ""])) }),
  ],
  [
    "TOOLS_MAX",
    "tools",
    (size) => response({ tools: many(size, 0).map((_, i) => ({ type: "function", name: `f${i}` })) }),
  ],
  [
    "JSON_DEPTH_MAX",
    "tools.0.parameters",
    (depth) => response({ tools: [{ type: "function", name: "f", parameters: nested(depth) }] }),
  ],
  ["METADATA_VALUE_CHARS_MAX", "metadata.a", (size) => response({ metadata: { a: chars(size) } })],
  ["EMBEDDING_INPUTS_MAX", "input", (size) => embeddings({ input: many(size, "a") })],
  ["EMBEDDING_INPUTS_MAX", "input", (size) => decodeOllamaEmbed({ model: "m", input: many(size, "a") }, "r")],
  ["EMBEDDING_DIMENSIONS_MAX", "dimensions", (dimensions) => embeddings({ dimensions })],
  ["MESSAGE_TOOL_CALLS_MAX", "messages.0.tool_calls", (size) => ollama({ messages: [calls(size)] })],
  ["TOOLS_MAX", "tools", (size) => ollama({ tools: many(size, 0).map((_, i) => tool(`f${i}`)) })],
  ["SCHEMA_JSON_DEPTH_MAX", "format", (depth) => ollama({ format: nested(depth) })],
  [
    "SCHEMA_JSON_DEPTH_MAX",
    "parameters.grammar.value",
    (depth) => tgi({ grammar: { type: "json", value: nested(depth) } }),
  ],
  ["PATTERN_CHARS_MAX", "parameters.grammar.value", (size) => tgi({ grammar: { type: "regex", value: chars(size) } })],
  [
    "JSON_DEPTH_MAX",
    "messages.0.tool_calls.0.function.arguments",
    (depth) => ollama({ messages: [calls(1, nested(depth))] }),
  ],
  ["MESSAGES_MAX", "messages", (size) => ollama({ messages: many(size, USER) })],
  ["TEXT_CHARS_MAX", "messages.0.content", (size) => ollama({ messages: [{ ...USER, content: chars(size) }] })],
  ["TEXT_CHARS_MAX", "inputs", (size) => decodeTgiRequest({ inputs: chars(size) }, "r", false)],
  ["TEXT_CHARS_MAX", "prompt", (size) => decodeTokenize({ prompt: chars(size) }, "r")],
  ["PROMPT_TOKENS_MAX", "tokens", (size) => decodeDetokenize({ tokens: many(size, 1) }, "r")],
  ["STOP_STRINGS_MAX", "options.stop", (size) => ollama({ options: { stop: many(size, "a") } })],
  ["STOP_STRINGS_MAX", "parameters.stop", (size) => tgi({ stop: many(size, "a") })],
  ["TOP_LOGPROBS_MAX", "parameters.top_n_tokens", (top_n_tokens) => tgi({ top_n_tokens })],
  ["TOOLS_MAX", "tools", (size) => chat({ tools: many(size, 0).map((_, i) => tool(`f${i}`)) })],
  ["TOOL_NAME_CHARS_MAX", "tools.0.function.name", (size) => chat({ tools: [tool(chars(size))] })],
  [
    "MESSAGE_TOOL_CALLS_MAX",
    "messages.0.tool_calls",
    (size) => chat({ messages: [{ role: "assistant", tool_calls: many(size, call("{}")) }] }),
  ],
  ["JSON_DEPTH_MAX", "tools.0", (depth) => chat({ tools: [tool("f", { parameters: nested(depth) })] })],
  ["JSON_DEPTH_MAX", "chat_template_kwargs", (depth) => chat({ chat_template_kwargs: nested(depth) })],
  [
    "JSON_DEPTH_MAX",
    "messages.0.tool_calls.0.function.arguments",
    (depth) => chat({ messages: [{ role: "assistant", tool_calls: [call(JSON.stringify(nested(depth)))] }] }),
  ],
  // The object itself and its list count, too.
  ["JSON_VALUES_MAX", "chat_template_kwargs", (size) => chat({ chat_template_kwargs: { a: many(size - 2, 1) } })],
  ["TEMPLATE_ARGUMENTS_MAX", "chat_template_kwargs", (size) => chat({ chat_template_kwargs: biases(size) })],
  ["DOCUMENTS_MAX", "documents", (size) => chat({ documents: many(size, {}) })],
  ["CONSTRAINT_CHARS_MAX", "json_schema", (size) => chat({ json_schema: { a: chars(size - NO_SCHEMA_CHARS) } })],
  ["TITLE_CHARS_MAX", "title", (size) => decodeSessionInit({ title: chars(size) })],
];

test.each(CASES)("%s bounds %s", (name, param, accept, step = 1) => {
  const limit = limits[name];
  accept(limit);
  const error = caught(() => accept(limit + step));
  expect(error).toMatchObject({ status: 400, param });
  expect(error.message).toContain(String(limit));
});

test("every bound has a case, here or where it is enforced", () => {
  const elsewhere = [
    "BODY_BYTES_MAX",
    "REQUEST_ID_CHARS_MAX",
    "KEEP_ALIVE_MS",
    "SESSION_QUEUE_MAX",
    "SESSION_SOCKETS_MAX",
    "SOCKET_BUFFERED_BYTES_MAX",
    "TRUNCATION_ANSWER_TOKENS",
    // test/unit/api/responses.test.ts
    "RESPONSE_INPUT_BYTES_MAX",
    "REFERENCED_CONVERSATIONS_MAX",
    // test/edge/responses.test.ts
    "RESPONSE_CHAIN_MAX",
    // test/unit/text/grammar/limits.test.ts
    "PATTERN_CHARS_MAX",
    "PATTERN_DEPTH_MAX",
    "GRAMMAR_CHARS_MAX",
    "GRAMMAR_NODES_MAX",
    "GRAMMAR_DEPTH_MAX",
    "ENUM_VALUES_MAX",
    "ENUM_CHARS_MAX",
    "SCHEMA_NODES_MAX",
    "SCHEMA_DEPTH_MAX",
    "SCHEMA_JSON_DEPTH_MAX",
    "SCHEMA_NAME_CHARS_MAX",
    "SCHEMA_PROPERTIES_MAX",
    "MULTIPLE_OF_MAX",
    "INTERSECTION_STATES_MAX",
  ];
  expect(new Set([...CASES.map(([name]) => name), ...elsewhere])).toEqual(new Set(Object.keys(limits)));
});

test("a hundred thousand bad entries cost one complaint", () => {
  const error = caught(() => chat({ messages: many(100_000, 0) }));
  expect(error.message).toBe("'messages' may have at most 1024 entries, but has 100000.");
});

test("a message quotes no more than a line of the client's own text", () => {
  for (const fields of [{ model: "m", stream: chars(100_000) }, { logit_bias: { [chars(100_000)]: "x" } }]) {
    const error = caught(() => chat(fields));
    expect(error.message.length).toBeLessThan(300);
    expect(error.param!.length).toBeLessThan(100);
  }
});
