/** The table of docs/ollama.md against the decoders: what it says of each field holds, and no field is missing in it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { decodeOllamaChat, ollamaChatRequestSchema } from "../../../src/protocol/ollama/chat-request.ts";
import {
  decodeOllamaEmbed,
  decodeOllamaEmbeddings,
  embeddingsSchema,
  embedSchema,
} from "../../../src/protocol/ollama/embed.ts";
import {
  decodeOllamaGenerate,
  ollamaGenerateRequestSchema,
  REFUSED_OF_GENERATE,
} from "../../../src/protocol/ollama/generate-request.ts";
import { optionsSchema, REFUSED_OPTIONS } from "../../../src/protocol/ollama/options.ts";
import { caught } from "./caught.ts";

type Endpoint = "chat" | "generate" | "embed" | "embeddings";

const DECODERS: Record<Endpoint, { decode: (body: object) => unknown; body: object }> = {
  chat: {
    decode: (body) => decodeOllamaChat(body, "r"),
    body: { model: "m", messages: [{ role: "user", content: "hi" }], logprobs: true },
  },
  generate: { decode: (body) => decodeOllamaGenerate(body, "r"), body: { model: "m", prompt: "hi", logprobs: true } },
  embed: { decode: (body) => decodeOllamaEmbed(body, "r"), body: { model: "m", input: "hi" } },
  embeddings: { decode: (body) => decodeOllamaEmbeddings(body, "r"), body: { model: "m", prompt: "hi" } },
};

/** A value of each field that asks for something. */
const VALUES: Record<string, unknown> = {
  model: "other",
  messages: [{ role: "user", content: "other" }],
  prompt: "other",
  input: ["other", "texts"],
  system: "Be brief.",
  raw: true,
  stream: false,
  format: "json",
  logprobs: false,
  top_logprobs: 3,
  think: "high",
  options: { seed: 5 },
  keep_alive: 0,
  tools: [{ type: "function", function: { name: "f" } }],
  images: ["aGk="],
  suffix: "the end",
  template: "{{ .Prompt }}",
  context: [1, 2],
  truncate: false,
  shift: true,
  dimensions: 8,
  "options.num_predict": 7,
  "options.temperature": 0.1,
  "options.top_k": 3,
  "options.top_p": 0.5,
  "options.min_p": 0.1,
  "options.seed": 3,
  "options.stop": ["x"],
  "options.repeat_penalty": 1.2,
  "options.repeat_last_n": 0,
  "options.presence_penalty": 1,
  "options.frequency_penalty": 1,
  "options.mirostat": 2,
  "options.typical_p": 0.5,
  "options.tfs_z": 0.5,
  "options.penalize_newline": false,
};

interface Row {
  field: string;
  endpoint: Endpoint;
  handling: string;
}

const TABLE = readFileSync(join(import.meta.dirname, "../../../docs/ollama.md"), "utf8")
  .split("<!-- fields:start")[1]!
  .split("<!-- fields:end")[0]!;

const ROWS: Row[] = [...TABLE.matchAll(/^\| `([\w.]+)` \| ([\w, ]+) \| (\w+) \|/gm)].flatMap(
  ([, field, of, handling]) =>
    of!.split(", ").map((endpoint) => ({ field: field!, endpoint: endpoint as Endpoint, handling: handling! })),
);

describe.each(ROWS)("$field of $endpoint", ({ field, endpoint, handling }) => {
  const { decode, body } = DECODERS[endpoint];
  // What is ignored is ignored whatever it is, where Ollama has numbers.
  const value = VALUES[field] ?? 1;
  const [name, option] = field.split(".");
  // A penalty shows what its window does, and options of nothing else are there.
  const neighbours = field === "options.repeat_last_n" ? { repeat_penalty: 1.3 } : {};
  const before = option === undefined ? body : { ...body, options: neighbours };
  const after =
    option === undefined ? { ...body, [name!]: value } : { ...body, options: { ...neighbours, [option]: value } };

  test(`is ${handling}`, () => {
    if (handling === "refused") expect(caught(() => decode(after))).toMatchObject({ status: 400, param: field });
    else if (handling === "used") expect(decode(after)).not.toEqual(decode(before));
    else expect(decode(after)).toEqual(decode(before));
  });
});

test("the table has every field that a decoder knows, once", () => {
  const options = Object.keys(optionsSchema().shape).concat(REFUSED_OPTIONS.map(({ field }) => field));
  const optionFields = options.map((name) => `options.${name}`);
  const known: Record<Endpoint, string[]> = {
    chat: [...Object.keys(ollamaChatRequestSchema().shape), ...optionFields],
    generate: [
      ...Object.keys(ollamaGenerateRequestSchema().shape),
      ...REFUSED_OF_GENERATE.map(({ field }) => field),
      ...optionFields,
      "images",
    ],
    embed: Object.keys(embedSchema().shape),
    embeddings: Object.keys(embeddingsSchema().shape),
  };
  for (const [endpoint, fields] of Object.entries(known)) {
    const told = ROWS.filter((row) => row.endpoint === endpoint).map(({ field }) => field);
    expect(new Set(told).size).toBe(told.length);
    expect(told).toEqual(expect.arrayContaining(fields));
    const used = ROWS.filter((row) => row.endpoint === endpoint && row.handling !== "ignored").map(
      ({ field }) => field,
    );
    expect(new Set(used)).toEqual(new Set(fields));
  }
});
