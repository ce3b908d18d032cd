/** Embeddings by every client that asks for them over OpenAI's API: as floats and as base64, which must be the same. */
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { OpenAIEmbeddings } from "@langchain/openai";
import { type EmbeddingModel, embedMany } from "ai";
import OpenAI from "openai";
import { describe, expect, inject, test } from "vitest";
import { MODEL } from "./server.ts";

const at = { baseURL: `${inject("serverUrl")}/v1`, apiKey: "any" };
const TEXTS = ["What is a KV cache?", "Tell me a story.", "What is a KV cache?"];

const openai = new OpenAI({ ...at, maxRetries: 0 });
const langchain = new OpenAIEmbeddings({ model: MODEL, apiKey: at.apiKey, maxRetries: 0, configuration: at });
const many = async (model: EmbeddingModel) => (await embedMany({ model, values: TEXTS, maxRetries: 0 })).embeddings;
const vectors = async (fields: object) =>
  (await openai.embeddings.create({ model: MODEL, input: TEXTS, ...fields })).data.map(({ embedding }) => embedding);

const CLIENTS: [string, () => Promise<number[][]>][] = [
  ["openai, base64 by default", () => vectors({})],
  ["openai, base64", () => vectors({ encoding_format: "base64" }).then(decoded)],
  [
    "ai + @ai-sdk/openai-compatible",
    () => many(createOpenAICompatible({ name: "runnel", ...at }).embeddingModel(MODEL)),
  ],
  ["ai + @ai-sdk/openai", () => many(createOpenAI(at).embedding(MODEL))],
  ["@langchain/openai", () => langchain.embedDocuments(TEXTS)],
];

/** The client decodes only what it asked for by itself. */
function decoded(embeddings: unknown[]): number[][] {
  return embeddings.map((one) => {
    if (typeof one !== "string") return one as number[];
    const bytes = Uint8Array.from(Buffer.from(one, "base64"));
    return [...new Float32Array(bytes.buffer)];
  });
}

const dot = (a: readonly number[], b: readonly number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

describe.each(CLIENTS)("%s", (_name, ask) => {
  test("gets a vector of length 1 for each text, the same as floats are", async () => {
    const floats = await vectors({ encoding_format: "float" });
    const got = await ask();
    expect(got).toHaveLength(TEXTS.length);
    for (const [i, vector] of got.entries()) {
      expect(vector).toHaveLength(floats[i]!.length);
      for (const [j, x] of vector.entries()) expect(x).toBeCloseTo(floats[i]![j]!, 6);
      expect(dot(vector, vector)).toBeCloseTo(1, 4);
    }
    expect(dot(got[0]!, got[2]!)).toBeCloseTo(1, 5);
    expect(dot(got[0]!, got[1]!)).toBeLessThan(0.999);
  });
});

test("usage counts the texts' tokens", async () => {
  const { usage } = await openai.embeddings.create({ model: MODEL, input: TEXTS });
  expect(usage.prompt_tokens).toBeGreaterThan(TEXTS.length);
  expect(usage.total_tokens).toBe(usage.prompt_tokens);
});

test("an unknown model is a 404", async () => {
  const error = await openai.embeddings.create({ model: "nope", input: "a" }).catch((cause) => cause);
  expect(error).toBeInstanceOf(OpenAI.NotFoundError);
});
