/**
 * Bodies that were right before something was done to them, sent to every POST route there is: real decoders, real
 * grammars, an engine that is a script.
 */
import type { EventStream } from "../../../src/api/model-service.ts";
import type { GenerateRequest } from "../../../src/protocol/generate.ts";
import { fromConstraint } from "../../../src/text/grammar/constraint.ts";
import { uniformSource } from "../../support/random.ts";
import { delta, done, finish, start } from "../protocol/events.ts";
import { ScriptedModels, scriptedHost } from "./scripted-host.ts";

const SCHEMA = {
  type: "object",
  properties: { a: { type: "string", pattern: "^[a-z]{1,8}$" }, b: { type: "array", items: { $ref: "#/$defs/n" } } },
  required: ["a"],
  $defs: { n: { anyOf: [{ type: "integer", minimum: 0 }, { const: "x" }] } },
};
const TOOL = { type: "function", function: { name: "f", description: "d", parameters: SCHEMA, strict: true } };
const MESSAGES = [
  { role: "system", content: "Be brief." },
  { role: "user", content: [{ type: "text", text: "Hi" }] },
  {
    role: "assistant",
    content: null,
    tool_calls: [{ id: "c", type: "function", function: { name: "f", arguments: "{}" } }],
  },
  { role: "tool", tool_call_id: "c", content: "4" },
];
const SAMPLING = {
  model: "org/demo",
  temperature: 1,
  top_p: 0.9,
  seed: 7,
  stop: ["\n"],
  max_tokens: 4,
  logit_bias: { "5": 1 },
};

const RIGHT: readonly object[] = [
  { ...SAMPLING, messages: MESSAGES, tools: [TOOL], tool_choice: "auto", stream: true, n: 2 },
  {
    ...SAMPLING,
    messages: MESSAGES,
    response_format: { type: "json_schema", json_schema: { name: "s", schema: SCHEMA } },
  },
  { ...SAMPLING, prompt: ["Hi", "Ho"], structured_outputs: { regex: "(ab|c)+[0-9]{2,5}" }, logprobs: 2 },
  { ...SAMPLING, prompt: "Hi", structured_outputs: { grammar: 'root ::= "a" | "b" root' } },
  {
    model: "org/demo",
    input: [{ role: "user", content: "Hi" }],
    instructions: "Be brief.",
    text: { format: { type: "json_object" } },
  },
  { model: "org/demo", input: ["Hi", "Ho"], encoding_format: "base64", dimensions: 2 },
  {
    model: "org/demo",
    messages: [{ role: "user", content: "Hi" }],
    format: SCHEMA,
    options: { num_predict: 4, top_k: 3 },
  },
  { model: "org/demo", prompt: "Hi", system: "s", raw: false, think: false, keep_alive: "5m", stream: false },
  { inputs: "Hi", parameters: { max_new_tokens: 4, grammar: { type: "regex", value: "a+b" }, details: true } },
  { model: "org/demo", prompt: "Hi", add_special_tokens: true, return_token_strs: true },
  { model: "org/demo", tokens: [72, 105] },
  { content: "Hi", model: "org/demo", title: "t", system: "s", message_id: 1 },
];

/** Texts of JSON, so that they can be what no value is written as: numbers too large, keys that are there twice. */
const ODD: readonly string[] = [
  ...[
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "1e308",
    "1e999",
    "-1e999",
    "9007199254740993",
    '""',
    "[]",
    "{}",
    "[[[]]]",
    '"x"',
  ],
  ...[
    '"\\ud800"',
    '"\\u0000"',
    '"😀é\\u202e"',
    '{"__proto__":{"a":1}}',
    '{"constructor":null}',
    '{"type":"object","$ref":"#"}',
  ],
  ...['"(a*)*b"', '"[z-a]"', '"(?=x)y"', '"((((("', '"a{0,99999}"', '{"allOf":[{"type":"string"},{"type":"number"}]}'],
  ...[`${"[".repeat(200)}${"]".repeat(200)}`, `${'{"a":'.repeat(90)}1${"}".repeat(90)}`, `"${"x".repeat(3000)}"`],
  ...[`[${"1,".repeat(600)}1]`, '{"a":1,"a":2}', '{"anyOf":[{"$ref":"#/anyOf/0"}]}', "{", "NaN", '"unended'],
];

/** The grammars that a request asks for are made, as an engine's would be; what it then says is a script. */
class GrammarModels extends ScriptedModels {
  override async generate(request: GenerateRequest, routingKey: string | null): Promise<EventStream> {
    if (request.constraint !== null) fromConstraint(request.constraint, "response_format");
    this.requests.length = 0;
    this.streams.length = 0;
    const indices = Array.from({ length: request.prompts.length * request.n }, (_, index) => index);
    this.script = [start(), ...indices.flatMap((i) => [delta("x", i), finish(i)]), done()];
    return super.generate(request, routingKey);
  }
}

export interface Fuzzed {
  path: string;
  body: string;
  status: number;
  text: string;
}

/** @returns sends the next body; the same ones for the same seed */
export async function mutatedBodies(seed: number): Promise<() => Promise<Fuzzed>> {
  const uniform = uniformSource(seed);
  const oneOf = <T>(list: readonly T[]): T => list[Math.floor(uniform() * list.length)]!;
  const models = new GrammarModels();
  const host = scriptedHost({}, models);
  const { id } = await host.sessions.create({ model: "org/demo", system: null, title: null }, null);
  const paths = host.app.routes.flatMap(({ method, path }) => (method === "POST" ? [path.replace(/:[a-z]+/, id)] : []));
  return async () => {
    const path = oneOf(paths);
    let body = JSON.stringify(oneOf(RIGHT));
    for (let i = Math.floor(uniform() * 4); i > 0; i--) body = mutated(body, uniform, oneOf);
    const response = await host.post(path, body);
    const text = await response.text();
    host.records.length = host.sessions.sent.length = host.sessions.streams.length = 0;
    host.responses.stored.clear();
    return { path, body, status: response.status, text };
  };
}

/** One value of the text is another one, a field is there once more, or a byte is wrong. */
function mutated(body: string, uniform: () => number, oneOf: <T>(list: readonly T[]) => T): string {
  const values = [...body.matchAll(/"(?:[^"\\]|\\.)*"(?!:)|-?\d[\d.e+]*|true|false|null|\[\]|\{\}/g)];
  const { index, 0: value } = values.length === 0 ? { index: 0, 0: "" } : oneOf(values);
  const kind = uniform();
  if (kind < 0.7) return body.slice(0, index) + oneOf(ODD) + body.slice(index + value.length);
  const keys = [...body.matchAll(/"(\w+)":/g)].map(([, key]) => key!);
  if (kind < 0.9) return body.replace("{", () => `{"${keys.length > 0 ? oneOf(keys) : "a"}":${oneOf(ODD)},`);
  return body.slice(0, index) + String.fromCharCode(uniform() * 300) + body.slice(index + 1);
}

/** @returns what is wrong with an answer; null = nothing */
export function faultOf({ path, status, text }: Fuzzed): string | null {
  const isWrite = /^\/api\/(pull|push|create|copy|blobs\/.*)$/.test(path);
  if (status >= 500 && !(status === 501 && isWrite)) return "a status that blames the server";
  if (status < 400) return null;
  const body = JSON.parse(text);
  const isTgi = ["/", "/generate", "/generate_stream"].includes(path);
  if (path.startsWith("/api/") || isTgi) {
    const keys = isTgi ? "error,error_type" : "error";
    return Object.keys(body).join() === keys && typeof body.error === "string" ? null : "another shape of error";
  }
  return Object.keys(body.error).sort().join() === "code,message,param,type" ? null : "another shape of error";
}
