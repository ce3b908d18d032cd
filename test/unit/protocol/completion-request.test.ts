import { expect, test } from "vitest";
import * as z from "zod";
import { completionRequestSchema, decodeCompletionRequest } from "../../../src/protocol/openai/completion-request.ts";
import { caught } from "./caught.ts";

const decode = (fields: object) => decodeCompletionRequest({ model: "m", prompt: "hi", ...fields }, "r1").generate;

test.each([
  ["a text", "héllo", [{ kind: "text", text: "héllo" }]],
  ["an empty text", "", [{ kind: "text", text: "" }]],
  [
    "texts",
    ["a", "b"],
    [
      { kind: "text", text: "a" },
      { kind: "text", text: "b" },
    ],
  ],
  ["token ids", [1, 0, 2147483647], [{ kind: "tokens", tokens: [1, 0, 2147483647] }]],
  [
    "lists of token ids",
    [[1, 2], [3]],
    [
      { kind: "tokens", tokens: [1, 2] },
      { kind: "tokens", tokens: [3] },
    ],
  ],
])("the prompt may be %s", (_name, prompt, wanted) => {
  expect(decode({ prompt }).prompts).toEqual(wanted);
});

test.each<[string, unknown, string, string]>([
  ["absent", undefined, "prompt", "is required"],
  ["null", null, "prompt", "is required"],
  ["a number", 5, "prompt", "but is 5"],
  ["an object", {}, "prompt", "an object"],
  ["an empty list", [], "prompt", "at least 1 entry"],
  ["a list with an empty list", [[1], []], "prompt.1", "at least 1 token id"],
  ["texts with a number", ["a", 5], "prompt.1", "is 5"],
  ["texts with token ids", ["a", [5]], "prompt.1", "a list of 1 entries"],
  ["token ids with a text", [5, "a"], "prompt.1", '"a"'],
  ["a fraction", [5, 1.5], "prompt.1", "1.5"],
  ["a negative id", [[5], [-1]], "prompt.1.0", "-1"],
  ["an id over 32 bits", [2 ** 31], "prompt.0", "2147483647"],
  ["a list of null", [null], "prompt.0", "null"],
  ["a list of lists of text", [["a"]], "prompt.0.0", '"a"'],
])("a prompt that is %s is a 400", (_name, prompt, param, words) => {
  const error = caught(() => decode({ prompt }));
  expect(error).toMatchObject({ status: 400, param });
  expect(error.message).toContain(words);
});

test.each([
  ["logprobs", { logprobs: 5 }, { logprobs: 5 }],
  ["logprobs of zero", { logprobs: 0 }, { logprobs: 0 }],
  ["no logprobs", { logprobs: null }, { logprobs: null }],
  ["echo", { echo: true, max_tokens: 0 }, { echo: true, maxTokens: 0 }],
  ["no echo", { echo: null }, { echo: false }],
  ["best_of as n", { n: 2, best_of: 2 }, { n: 2 }],
  ["best_of null", { n: 2, best_of: null }, { n: 2 }],
  ["an empty suffix", { suffix: "" }, {}],
])("%s", (_name, fields, wanted) => {
  expect(decode(fields)).toMatchObject(wanted);
});

test.each([
  ["best_of over n", { best_of: 2 }, "best_of", "n (here 1)"],
  ["best_of of zero", { best_of: 0 }, "best_of", "best_of"],
  ["suffix", { suffix: "end" }, "suffix", "not supported"],
  ["logprobs true", { logprobs: true }, "logprobs", "must be a number, but is true"],
  ["echo as text", { echo: "yes" }, "echo", "true or false"],
  ["response_format", { response_format: { type: "xml" } }, "response_format.type", "must be one of"],
  ["add_special_tokens", { add_special_tokens: false }, "add_special_tokens", "not supported"],
])("%s is a 400", (_name, fields, param, words) => {
  const error = caught(() => decode(fields));
  expect(error).toMatchObject({ status: 400, param });
  expect(error.message).toContain(words);
});

test("the schema of the whole body can be written down as JSON Schema", () => {
  expect(z.toJSONSchema(completionRequestSchema()).required).toEqual(["model", "prompt"]);
});
