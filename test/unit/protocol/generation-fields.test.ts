import { describe, expect, test } from "vitest";
import { decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { decodeCompletionRequest } from "../../../src/protocol/openai/completion-request.ts";
import { decodeSessionMessage } from "../../../src/protocol/sessions.ts";
import { caught } from "./caught.ts";

type Fields = Record<string, unknown>;

const DECODERS = {
  chat: (fields: Fields) =>
    decodeChatRequest({ model: "m", messages: [{ role: "user", content: "hi" }], ...fields }, "r1").generate,
  completions: (fields: Fields) => decodeCompletionRequest({ model: "m", prompt: "hi", ...fields }, "r1").generate,
  sessions: (fields: Fields) => decodeSessionMessage({ content: "hi", ...fields }, "r1").generate,
};

/** field, good value, where it lands, what lands there */
const GOOD: [string, unknown, string, unknown][] = [
  ["temperature", 0, "sampling.temperature", 0],
  ["temperature", 2, "sampling.temperature", 2],
  ["temperature", null, "sampling.temperature", 1],
  ["top_p", 0, "sampling.topP", 0],
  ["top_p", 0.9, "sampling.topP", 0.9],
  ["top_p", null, "sampling.topP", 1],
  ["top_k", 40, "sampling.topK", 40],
  ["top_k", 0, "sampling.topK", 0],
  ["top_k", -1, "sampling.topK", 0],
  ["top_k", null, "sampling.topK", 0],
  ["min_p", 0.05, "sampling.minP", 0.05],
  ["min_p", null, "sampling.minP", 0],
  ["repetition_penalty", 1.1, "sampling.repetitionPenalty", 1.1],
  ["repetition_penalty", null, "sampling.repetitionPenalty", 1],
  ["presence_penalty", -2, "sampling.presencePenalty", -2],
  ["presence_penalty", null, "sampling.presencePenalty", 0],
  ["frequency_penalty", 2, "sampling.frequencyPenalty", 2],
  ["frequency_penalty", null, "sampling.frequencyPenalty", 0],
  [
    "logit_bias",
    { "5": -100, "0": 1.5 },
    "sampling.logitBias",
    [
      [0, 1.5],
      [5, -100],
    ],
  ],
  ["logit_bias", {}, "sampling.logitBias", []],
  ["logit_bias", null, "sampling.logitBias", []],
  ["seed", 7, "sampling.seed", 7],
  ["seed", -1, "sampling.seed", -1],
  ["seed", 2 ** 62, "sampling.seed", 2 ** 62],
  ["seed", null, "sampling.seed", null],
  ["max_tokens", 5, "maxTokens", 5],
  ["max_tokens", 0, "maxTokens", 0],
  ["max_completion_tokens", 6, "maxTokens", 6],
  ["stop", "a", "stopStrings", ["a"]],
  ["stop", ["a", "é"], "stopStrings", ["a", "é"]],
  ["stop", [], "stopStrings", []],
  ["stop", null, "stopStrings", []],
  ["stop_token_ids", [1, 2], "stopTokenIds", [1, 2]],
  ["stop_token_ids", null, "stopTokenIds", []],
  ["ignore_eos", true, "ignoreEos", true],
  ["ignore_eos", null, "ignoreEos", false],
  ["cache_salt", "tenant", "cacheSalt", "tenant"],
  ["cache_salt", null, "cacheSalt", ""],
  ["user", "someone", "cacheSalt", ""],
  ["priority", -5, "priority", -5],
  ["priority", null, "priority", 0],
];

/** field, bad value, param, words that the message must hold */
const BAD: [string, unknown, string, string[]][] = [
  ["temperature", "hot", "temperature", ["must be a number", '"hot"']],
  ["temperature", 2.1, "temperature", ["at most 2", "2.1"]],
  ["temperature", -0.1, "temperature", ["at least 0", "-0.1"]],
  ["temperature", [1], "temperature", ["must be a number", "a list of 1 entries"]],
  ["top_p", 1.01, "top_p", ["at most 1", "1.01"]],
  ["top_p", true, "top_p", ["must be a number", "true"]],
  ["top_k", 1.5, "top_k", ["must be an integer", "1.5"]],
  ["top_k", -2, "top_k", ["at least -1", "-2"]],
  ["min_p", -1, "min_p", ["at least 0"]],
  ["min_p", {}, "min_p", ["must be a number", "an object"]],
  ["repetition_penalty", 0, "repetition_penalty", ["greater than 0", "0"]],
  ["repetition_penalty", "1", "repetition_penalty", ["must be a number"]],
  ["presence_penalty", 2.5, "presence_penalty", ["at most 2", "2.5"]],
  ["frequency_penalty", -3, "frequency_penalty", ["at least -2", "-3"]],
  ["logit_bias", { "5": 101 }, "logit_bias.5", ["at most 100", "101"]],
  ["logit_bias", { "5": "x" }, "logit_bias.5", ["must be a number"]],
  ["logit_bias", { five: 1 }, "logit_bias", ["token ids", '"five"']],
  ["logit_bias", { "-1": 1 }, "logit_bias", ["token ids", '"-1"']],
  ["logit_bias", { "07": 1 }, "logit_bias", ["token ids", '"07"']],
  ["logit_bias", { "2147483648": 1 }, "logit_bias", ["2147483647"]],
  ["logit_bias", [1], "logit_bias", ["JSON object"]],
  ["seed", 1.5, "seed", ["integer", "1.5"]],
  ["seed", 5e-324, "seed", ["integer"]],
  ["seed", 1e19, "seed", ["at most"]],
  ["seed", "1", "seed", ["must be a number"]],
  ["max_tokens", -1, "max_tokens", ["at least 0", "-1"]],
  ["max_tokens", 1.5, "max_tokens", ["integer"]],
  ["max_tokens", 2 ** 31, "max_tokens", ["at most 2147483647"]],
  ["max_completion_tokens", "5", "max_completion_tokens", ["must be a number"]],
  ["stop", 5, "stop", ["a string or a list", "5"]],
  ["stop", "", "stop", ["at least 1 characters", "has 0"]],
  ["stop", ["a", ""], "stop.1", ["at least 1 characters"]],
  ["stop", ["a", 5], "stop.1", ["must be a string", "5"]],
  ["stop_token_ids", [1, -1], "stop_token_ids.1", ["at least 0", "-1"]],
  ["stop_token_ids", "1", "stop_token_ids", ["must be a list"]],
  ["ignore_eos", "yes", "ignore_eos", ["true or false"]],
  ["stream", "true", "stream", ["true or false", '"true"']],
  ["stream_options", { include_usage: 1 }, "stream_options.include_usage", ["true or false"]],
  ["stream_options", { include_usage: true }, "stream_options", ["stream"]],
  ["user", 5, "user", ["must be a string"]],
  ["prompt_cache_key", 5, "prompt_cache_key", ["must be a string"]],
  ["cache_salt", [], "cache_salt", ["must be a string"]],
];

describe.each(Object.entries(DECODERS))("the shared fields of %s", (_name, decode) => {
  test.each(GOOD)("%s = %j sets %s to %j", (field, value, path, wanted) => {
    expect(decode({ [field]: value })).toHaveProperty(path, wanted);
  });

  test.each(BAD)("%s = %j is a 400 for %s", (field, value, param, words) => {
    const error = caught(() => decode({ [field]: value }));
    expect(error).toMatchObject({ status: 400, type: "invalid_request_error", param });
    for (const word of words) expect(error.message).toContain(word);
  });

  test("the newer limit of tokens wins", () => {
    expect(decode({ max_tokens: 5, max_completion_tokens: 6 }).maxTokens).toBe(6);
    expect(decode({ max_tokens: 5, max_completion_tokens: null }).maxTokens).toBe(5);
  });

  test("unknown fields are ignored", () => {
    expect(decode({ no_such_field: { deep: [1] }, metadata: { a: "b" }, service_tier: "auto" })).toEqual(decode({}));
  });

  test("NaN and infinities cannot come from JSON and are refused all the same", () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(caught(() => decode({ temperature: value })).param).toBe("temperature");
    }
  });
});

test("completions default to 16 tokens, chats to what the context leaves", () => {
  expect(DECODERS.completions({}).maxTokens).toBe(16);
  expect(DECODERS.completions({ max_tokens: null }).maxTokens).toBe(16);
  expect(DECODERS.chat({}).maxTokens).toBeNull();
  expect(DECODERS.sessions({}).maxTokens).toBeNull();
});
