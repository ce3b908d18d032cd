import { expect, test } from "vitest";
import * as z from "zod";
import { chatRequestSchema, decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { caught } from "./caught.ts";

const USER = { role: "user", content: "hi" };
const decode = (fields: object) => decodeChatRequest({ model: "m", messages: [USER], ...fields }, "r1");
const messagesOf = (messages: unknown) => decode({ messages }).generate.prompts;

test("the smallest request gets OpenAI's defaults", () => {
  expect(decode({})).toEqual({
    generate: {
      requestId: "r1",
      model: "m",
      prompts: [{ kind: "chat", messages: [USER] }],
      n: 1,
      beams: null,
      sampling: {
        temperature: 1,
        topK: 0,
        topP: 1,
        minP: 0,
        repetitionPenalty: 1,
        presencePenalty: 0,
        frequencyPenalty: 0,
        logitBias: [],
        seed: null,
      },
      maxTokens: null,
      stopStrings: [],
      stopTokenIds: [],
      ignoreEos: false,
      constraint: null,
      toolChoice: "none",
      parallelToolCalls: true,
      minTokens: 0,
      allowedTokenIds: null,
      badWords: [],
      priority: 0,
      logprobs: null,
      echo: false,
      cacheSalt: "",
    },
    style: { stream: false, includeUsage: false },
    promptCacheKey: null,
  });
});

test("roles, names and parts become messages", () => {
  const messages = [
    { role: "developer", content: "be short" },
    {
      role: "system",
      content: [
        { type: "text", text: "a" },
        { type: "text", text: "b" },
      ],
    },
    { role: "user", content: "", name: "ada" },
    { role: "assistant", content: "ok", tool_calls: [], refusal: null, audio: null },
  ];
  expect(messagesOf(messages)).toEqual([
    {
      kind: "chat",
      messages: [
        { role: "system", content: "be short" },
        { role: "system", content: "a\nb" },
        { role: "user", content: "", name: "ada" },
        { role: "assistant", content: "ok" },
      ],
    },
  ]);
});

test.each([
  ["logprobs absent", {}, null],
  ["logprobs false", { logprobs: false }, null],
  ["logprobs null", { logprobs: null, top_logprobs: null }, null],
  ["top_logprobs 0 without logprobs", { top_logprobs: 0 }, null],
  ["the chosen token only", { logprobs: true }, 0],
  ["alternatives", { logprobs: true, top_logprobs: 20 }, 20],
])("logprobs: %s", (_name, fields, wanted) => {
  expect(decode(fields).generate.logprobs).toBe(wanted);
});

test.each([
  ["stream", { stream: true }, { stream: true, includeUsage: false }],
  ["stream null", { stream: null, stream_options: null }, { stream: false, includeUsage: false }],
  ["usage", { stream: true, stream_options: { include_usage: true, other: 1 } }, { stream: true, includeUsage: true }],
  ["no usage", { stream: true, stream_options: {} }, { stream: true, includeUsage: false }],
])("style: %s", (_name, fields, wanted) => {
  expect(decode(fields).style).toEqual(wanted);
});

test("what may be sampled", () => {
  const fields = { min_tokens: 3, max_tokens: 3, allowed_token_ids: [4, 5], bad_words: ["no", "not this"] };
  const wanted = { minTokens: 3, allowedTokenIds: [4, 5], badWords: ["no", "not this"] };
  expect(decode(fields).generate).toMatchObject(wanted);
});

test("n and prompt_cache_key", () => {
  expect(decode({ n: 3 }).generate.n).toBe(3);
  expect(decode({ n: null }).generate.n).toBe(1);
  expect(decode({ prompt_cache_key: "k" }).promptCacheKey).toBe("k");
});

const BAD: [string, object, string | null, string][] = [
  ["more min_tokens than max_tokens", { min_tokens: 4, max_tokens: 3 }, "min_tokens", "at most max_tokens (here 3)"],
  ["no allowed token", { allowed_token_ids: [] }, "allowed_token_ids", "at least 1"],
  ["an empty bad word", { bad_words: ["a", ""] }, "bad_words.1", "at least 1"],
  ["rules for a search", { use_beam_search: true, bad_words: ["a"] }, "bad_words", "use_beam_search"],
  ["no model", { model: undefined }, "model", "is required"],
  ["null model", { model: null }, "model", "must be a string, but is null"],
  ["empty model", { model: "" }, "model", "at least 1"],
  ["number as model", { model: 5 }, "model", "must be a string, but is 5"],
  ["no messages", { messages: undefined }, "messages", "is required"],
  ["null messages", { messages: null }, "messages", "must be a list"],
  ["empty messages", { messages: [] }, "messages", "at least 1 entry"],
  ["text as messages", { messages: "hi" }, "messages", "must be a list"],
  ["a number among messages", { messages: [USER, 5] }, "messages.1", "must be a JSON object, but is 5"],
  ["no role", { messages: [{ content: "x" }] }, "messages.0.role", "is required"],
  ["unknown role", { messages: [{ role: "bot", content: "x" }] }, "messages.0.role", '"bot"'],
  ["no content", { messages: [{ role: "user" }] }, "messages.0.content", "is required"],
  ["null content", { messages: [{ role: "assistant", content: null }] }, "messages.0.content", "is null"],
  ["number as content", { messages: [{ role: "user", content: 5 }] }, "messages.0.content", "a string or a list"],
  ["no parts", { messages: [{ role: "user", content: [] }] }, "messages.0.content", "at least 1 entries"],
  ["a part that is no object", { messages: [{ role: "user", content: [5] }] }, "messages.0.content.0", "is 5"],
  ["null part", { messages: [{ role: "user", content: [null] }] }, "messages.0.content.0", "null"],
  [
    "a part without type",
    { messages: [{ role: "user", content: [{ text: "x" }] }] },
    "messages.0.content.0.type",
    '"text"',
  ],
  [
    "a part with a wrong text",
    {
      messages: [
        USER,
        {
          role: "user",
          content: [
            { type: "text", text: "a" },
            { type: "text", text: 5 },
          ],
        },
      ],
    },
    "messages.1.content.1.text",
    "must be a string, but is 5",
  ],
  ["wrong name", { messages: [{ ...USER, name: 5 }] }, "messages.0.name", "must be a string"],
  ["n of zero", { n: 0 }, "n", "at least 1"],
  ["half an n", { n: 1.5 }, "n", "integer"],
  ["logprobs as a number", { logprobs: 5 }, "logprobs", "true or false"],
  ["top_logprobs without logprobs", { top_logprobs: 5 }, "top_logprobs", "logprobs"],
  ["stream_options without stream", { stream_options: { include_usage: true } }, "stream_options", "stream"],
];

test.each(BAD)("%s is a 400", (_name, fields, param, words) => {
  const error = caught(() => decode(fields));
  expect(error).toMatchObject({ status: 400, type: "invalid_request_error", param });
  expect(error.message).toContain(words);
});

test.each([[null], [5], ["text"], [[]], [true]])("a body that is %j is a 400", (body) => {
  const error = caught(() => decodeChatRequest(body, "r1"));
  expect(error).toMatchObject({ status: 400, param: null });
  expect(error.message).toContain("The request body must be a JSON object");
});

test.each([
  ["modalities", ["text", "audio"]],
  ["audio", { voice: "x" }],
  ["web_search_options", {}],
  ["store", true],
  ["include_stop_str_in_output", true],
  ["skip_special_tokens", false],
  ["echo", true],
  ["prompt_logprobs", 0],
  ["truncate_prompt_tokens", 5],
  ["add_special_tokens", true],
  ["add_generation_prompt", false],
  ["chat_template", "x"],
  ["return_token_ids", true],
])("%s = %j is refused, not ignored", (param, value) => {
  const error = caught(() => decode({ [param]: value }));
  expect(error).toMatchObject({ status: 400, code: "unsupported_parameter", param });
  expect(error.message).toContain(`'${param}' is not supported here. Leave it out`);
});

test("a last message of the assistant's is the answer's beginning where that is asked for, and only then", () => {
  const messages = [
    { role: "user", content: "hi" },
    { role: "assistant", content: "Well, " },
  ];
  const promptOf = (fields: object) => decode({ messages, ...fields }).generate.prompts;
  expect(promptOf({})).toEqual([{ kind: "chat", messages }]);
  const wanted = [{ kind: "chat", messages: messages.slice(0, 1), answerSoFar: "Well, " }];
  expect(promptOf({ continue_final_message: true })).toEqual(wanted);
  expect(promptOf({ continue_final_message: true, add_generation_prompt: false })).toEqual(wanted);
  for (const fields of [{ add_generation_prompt: true }, { messages: messages.slice(0, 1) }]) {
    const error = caught(() => promptOf({ continue_final_message: true, ...fields }));
    expect(error).toMatchObject({ status: 400, param: "continue_final_message" });
  }
});

test("neutral values of unsupported fields pass", () => {
  const neutral = {
    tools: null,
    tool_choice: "none",
    function_call: "none",
    parallel_tool_calls: true,
    documents: [],
    reasoning_effort: null,
    response_format: { type: "text" },
    modalities: ["text"],
    store: false,
    use_beam_search: false,
    best_of: 1,
    min_tokens: 0,
    bad_words: [],
    grammar: "",
    skip_special_tokens: true,
    echo: false,
    add_special_tokens: false,
    add_generation_prompt: true,
    continue_final_message: false,
    chat_template_kwargs: {},
  };
  expect(decode(neutral)).toEqual(decode({}));
});

test.each([
  ["image_url", { type: "image_url", image_url: { url: "x" } }],
  ["input_audio", { type: "input_audio", input_audio: {} }],
  ["file", { type: "file", file: {} }],
])("a part of type %s is named in the refusal", (kind, part) => {
  const error = caught(() => messagesOf([{ role: "user", content: [{ type: "text", text: "x" }, part] }]));
  expect(error).toMatchObject({ status: 400, code: "unsupported_content", param: "messages.0.content.1" });
  expect(error.message).toContain(kind);
});

test("audio of an assistant's message is refused", () => {
  const message = { role: "assistant", audio: { id: "a" } };
  expect(caught(() => messagesOf([message]))).toMatchObject({ status: 400, param: "messages.0.audio" });
});

test("the schema of the whole body can be written down as JSON Schema", () => {
  const schema = z.toJSONSchema(chatRequestSchema());
  expect(schema.required).toEqual(["model", "messages"]);
  expect(Object.keys(schema.properties!)).toEqual(
    expect.arrayContaining(["temperature", "logit_bias", "top_logprobs"]),
  );
});
