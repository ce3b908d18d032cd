/** What an answer must match, in every notation that clients use. */
import { expect, test } from "vitest";
import { decodeChatRequest } from "../../../src/protocol/openai/chat-request.ts";
import { decodeCompletionRequest } from "../../../src/protocol/openai/completion-request.ts";
import { decodeSessionTurn } from "../../../src/protocol/sessions.ts";
import { caught } from "./caught.ts";

const SCHEMA = { type: "object", properties: { a: { type: "string" } }, $schema: "x" };
const MESSAGES = [{ role: "user", content: "hi" }];
const decode = (fields: object) => decodeChatRequest({ model: "m", messages: MESSAGES, ...fields }, "r").generate;

const schema = { kind: "schema", schema: SCHEMA };
const json = { kind: "json" };
const regex = { kind: "regex", pattern: "a+" };
const choice = { kind: "choice", choices: ["a", "b"] };
const grammar = { kind: "grammar", text: 'root ::= "x"' };

test.each<[object, object | null]>([
  [{}, null],
  [{ response_format: null, structured_outputs: null, guided_json: null, grammar: "" }, null],
  [{ response_format: { type: "text" } }, null],
  [{ response_format: { type: "json_object" } }, json],
  [{ response_format: { type: "json_object", schema: SCHEMA } }, schema],
  [{ response_format: { type: "json_schema", json_schema: { name: "n", schema: SCHEMA, strict: true } } }, schema],
  [{ response_format: { type: "json_schema", json_schema: { name: "n" } } }, json],
  [{ json_schema: SCHEMA }, schema],
  [{ structured_outputs: { json: SCHEMA } }, schema],
  [{ structured_outputs: { json: JSON.stringify(SCHEMA) } }, schema],
  [{ structured_outputs: { json_object: true } }, json],
  [{ structured_outputs: { regex: "a+", disable_any_whitespace: true } }, regex],
  [{ structured_outputs: { choice: ["a", "b"], json: null } }, choice],
  [{ structured_outputs: { grammar: 'root ::= "x"' } }, grammar],
  [{ guided_json: SCHEMA }, schema],
  [{ guided_json: JSON.stringify(SCHEMA), guided_decoding_backend: "outlines" }, schema],
  [{ guided_regex: "a+" }, regex],
  [{ guided_choice: ["a", "b"] }, choice],
  [{ guided_grammar: 'root ::= "x"' }, grammar],
  [{ grammar: 'root ::= "x"' }, grammar],
  [{ grammar: 'root ::= "x"', response_format: { type: "text" } }, grammar],
])("%j", (fields, constraint) => {
  expect(decode(fields).constraint).toEqual(constraint);
  expect(decodeCompletionRequest({ model: "m", prompt: "hi", ...fields }, "r").generate.constraint).toEqual(constraint);
  expect(decodeSessionTurn(fields, "r").generate.constraint).toEqual(constraint);
});

test.each<[string, object]>([
  ["response_format", { response_format: "json_object" }],
  ["response_format.type", { response_format: {} }],
  ["response_format.type", { response_format: { type: "structural_tag" } }],
  ["response_format.json_schema", { response_format: { type: "json_schema" } }],
  ["response_format.json_schema", { response_format: { type: "json_schema", json_schema: [] } }],
  ["response_format.json_schema.schema", { response_format: { type: "json_schema", json_schema: { schema: 1 } } }],
  ["structured_outputs", { structured_outputs: {} }],
  ["structured_outputs", { structured_outputs: ["a"] }],
  ["structured_outputs.structural_tag", { structured_outputs: { structural_tag: {} } }],
  ["structured_outputs.regex", { structured_outputs: { regex: 1 } }],
  ["structured_outputs.choice.1", { structured_outputs: { choice: ["a", 1] } }],
  ["structured_outputs.choice", { structured_outputs: { choice: [] } }],
  ["structured_outputs.regex", { structured_outputs: { json: {}, regex: "a" } }],
  ["guided_json", { guided_json: "{oops" }],
  ["guided_json", { guided_json: 1 }],
  ["guided_choice", { guided_choice: "a" }],
  ["guided_regex", { guided_json: {}, guided_regex: "a" }],
  ["grammar", { grammar: 1 }],
  ["json_schema", { json_schema: {}, response_format: { type: "json_object" } }],
])("'%s' of %j is refused by name", (param, fields) => {
  expect(caught(() => decode(fields))).toMatchObject({ status: 400, param });
});
