/** Objects and vectors by the clients of Ollama's API: as those of OpenAI's are. */
import { ChatOllama, OllamaEmbeddings } from "@langchain/ollama";
import { Ollama } from "ollama";
import OpenAI from "openai";
import { expect, inject, test } from "vitest";
import * as z from "zod";
import { reportSchema } from "../../support/clients/structured-clients.ts";
import { MODEL } from "./server.ts";

const serverUrl = inject("serverUrl");
const ollama = new Ollama({ host: serverUrl });
const TEXTS = ["What is a KV cache?", "Tell me a story."];

async function vectors(): Promise<number[][]> {
  const client = new OpenAI({ baseURL: `${serverUrl}/v1`, apiKey: "any", maxRetries: 0 });
  const { data } = await client.embeddings.create({ model: MODEL, input: TEXTS, encoding_format: "float" });
  return data.map(({ embedding }) => embedding);
}

test.each([0, 1])("ollama: an object of the schema at temperature %s", async (temperature) => {
  const { message } = await ollama.chat({
    model: MODEL,
    messages: [{ role: "user", content: TEXTS[0]! }],
    format: z.toJSONSchema(reportSchema),
    options: { temperature, num_predict: 200 },
  });
  expect(reportSchema.safeParse(JSON.parse(message.content)).error).toBeUndefined();
});

test("@langchain/ollama: an object of the schema", async () => {
  const chat = new ChatOllama({ baseUrl: serverUrl, model: MODEL, temperature: 1, numPredict: 200, maxRetries: 0 });
  const report = await chat.withStructuredOutput(reportSchema, { method: "jsonSchema" }).invoke(TEXTS[0]!);
  expect(reportSchema.safeParse(report).error).toBeUndefined();
});

test("ollama: a vector for each text, those of OpenAI's API", async () => {
  const { embeddings } = await ollama.embed({ model: MODEL, input: TEXTS });
  const expected = await vectors();
  for (const [i, vector] of embeddings.entries()) {
    for (const [j, x] of vector.entries()) expect(x).toBeCloseTo(expected[i]![j]!, 5);
  }
  expect(embeddings.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
});

test("@langchain/ollama: vectors, too", async () => {
  const embeddings = new OllamaEmbeddings({ baseUrl: serverUrl, model: MODEL, maxRetries: 0 });
  const [first] = await embeddings.embedDocuments(TEXTS);
  expect(first).toHaveLength((await vectors())[0]!.length);
});
