/** The whole way on the real engine: a model with random weights, at temperature 1, says what its constraint asks for. */
import Ajv from "ajv/dist/2020.js";
import { expect, test } from "vitest";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { specFromGguf } from "../../../src/model/spec-from-gguf.ts";
import type { Constraint, GenerateEvent, GenerateRequest } from "../../../src/protocol/generate.ts";
import { PLAIN_REQUEST } from "../../../src/protocol/plain-request.ts";
import { createLanguageModel, type ServedModel } from "../../../src/serving/served-model.ts";
import type { SpeculationOption } from "../../../src/serving/speculation.ts";
import { loadText } from "../../../src/text/index.ts";
import { GREEDY } from "../../support/sampling.ts";
import { tinyModelBytes } from "../../support/tiny-model.ts";
import { loadBytes } from "./support.ts";

const SCHEMA = {
  type: "object",
  properties: {
    name: { type: "string", maxLength: 12 },
    kind: { enum: ["cat", "dog"] },
    ages: { type: "array", items: { type: "integer", minimum: 0, maximum: 99 }, maxItems: 3 },
    tame: { type: "boolean" },
  },
  required: ["name", "kind", "ages", "tame"],
  additionalProperties: false,
};

const BYTES = tinyModelBytes({ contextLength: 512, weightType: "Q8_0" });

async function serve(speculation: SpeculationOption): Promise<ServedModel> {
  const { header, data } = await readGguf(memorySource(BYTES, "model"));
  await data.cancel();
  const spec = specFromGguf(header, "model");
  return createLanguageModel({
    id: "model",
    backend: await loadBytes(BYTES, "relaxed", { maxBatchSequences: 4 }),
    tokenizer: loadText(header, { nowMs: () => 0 }).tokenizer,
    embedding: { width: spec.dModel, pooling: spec.pooling },
    encodeChat: null,
    clock: () => 0,
    random: () => 0.5,
    limits: { numWaitingMax: 8, speculation },
    onCrash: (error) => {
      throw error;
    },
    onFault: (error) => {
      throw error;
    },
  });
}

function answer(model: ServedModel, constraint: Constraint, seed: number, n = 1) {
  const request: GenerateRequest = {
    ...PLAIN_REQUEST,
    requestId: "r",
    model: "model",
    prompts: [{ kind: "text", text: "Say it:" }],
    n,
    sampling: { ...GREEDY, temperature: 1, seed },
    maxTokens: 400,
    constraint,
  };
  const generation = model.generate(request);
  const events: GenerateEvent[] = [];
  for (let event = generation.next(); event !== null; event = generation.next()) events.push(event as GenerateEvent);
  return Array.from({ length: n }, (_, index) => {
    const own = events.filter((event) => "index" in event && event.index === index);
    const text = own.map((event) => (event.type === "delta" ? event.text : "")).join("");
    return { text, reason: own.flatMap((event) => (event.type === "finish" ? [event.reason] : []))[0] };
  });
}

test("a schema: every answer is JSON that it describes, the same with drafts", async () => {
  const validate = new Ajv().compile(SCHEMA);
  const [plain, drafting] = [await serve("off"), await serve({ maxDrafts: 4 })];
  for (let seed = 0; seed < 12; seed++) {
    const answers = answer(plain, { kind: "schema", schema: SCHEMA }, seed, 2);
    for (const { text, reason } of answers) {
      expect(reason).toBe("stop");
      expect(validate(JSON.parse(text)), text).toBe(true);
    }
    expect(answer(drafting, { kind: "schema", schema: SCHEMA }, seed, 2)).toEqual(answers);
  }
});

test("choices, expressions and grammars", async () => {
  const model = await serve("auto");
  for (let seed = 0; seed < 10; seed++) {
    const [one] = answer(model, { kind: "choice", choices: ["red", "green", "blue"] }, seed);
    expect(["red", "green", "blue"]).toContain(one!.text);
    const [two] = answer(model, { kind: "regex", pattern: "[A-Z]{2}-\\d{3,5}" }, seed);
    expect(two).toEqual({ text: expect.stringMatching(/^[A-Z]{2}-\d{3,5}$/), reason: "stop" });
    const [three] = answer(model, { kind: "grammar", text: 'root ::= "<" [a-c] [a-c]? ">"' }, seed);
    expect(three).toEqual({ text: expect.stringMatching(/^<[a-c]{1,2}>$/), reason: "stop" });
  }
});
