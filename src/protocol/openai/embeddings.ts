/**
 * POST /v1/embeddings (OpenAI API reference, "Create embeddings"). Vectors have length 1. `dimensions` keeps their first
 * components and makes them unit vectors again, which is right for models that were trained for it (Matryoshka) and an
 * approximation for others.
 *
 * OpenAI's own client asks for base64 by default: the components as little-endian float32.
 */
import * as z from "zod";
import type { Embeddings, EmbedRequest } from "../embed.ts";
import { base64Floats } from "../float-bytes.ts";
import { jsonPieces } from "../json-pieces.ts";
import { lazily } from "../lazily.ts";
import {
  EMBEDDING_DIMENSIONS_MAX,
  EMBEDDING_INPUTS_MAX,
  IDENTIFIER_CHARS_MAX,
  MODEL_NAME_CHARS_MAX,
} from "../limits.ts";
import { decodePrompts, promptsSchema } from "./prompts.ts";
import { validate, validateObject } from "./validate.ts";

const fieldsSchema = lazily(() =>
  z.object({
    model: z.string().min(1).max(MODEL_NAME_CHARS_MAX),
    encoding_format: z.enum(["float", "base64"]).nullish(),
    dimensions: z.int().min(1).max(EMBEDDING_DIMENSIONS_MAX).nullish(),
    /** vLLM's: what a cached prefix may be shared by. */
    cache_salt: z.string().max(IDENTIFIER_CHARS_MAX).nullish(),
    /** Ignored. */
    user: z.string().nullish(),
  }),
);

/** The whole body, for documentation. */
export const embeddingsRequestSchema = lazily(() =>
  fieldsSchema().extend({ input: promptsSchema(EMBEDDING_INPUTS_MAX) }),
);

export type EncodingFormat = "float" | "base64";

export function decodeEmbeddings(body: unknown, requestId: string): { embed: EmbedRequest; format: EncodingFormat } {
  const raw = validateObject(body);
  const { model, dimensions, encoding_format, cache_salt } = validate(fieldsSchema(), raw);
  return {
    embed: {
      requestId,
      model,
      prompts: decodePrompts(raw.input, "input", EMBEDDING_INPUTS_MAX),
      dimensions: dimensions ?? null,
      truncate: false,
      cacheSalt: cache_salt ?? "",
    },
    format: encoding_format ?? "float",
  };
}

/** The body's text in pieces, one for each vector. */
export function embeddingsPieces({ model, vectors, promptTokens }: Embeddings, format: EncodingFormat) {
  const usage = { prompt_tokens: promptTokens, total_tokens: promptTokens };
  return jsonPieces({ object: "list", model, usage }, "data", entries(vectors, format));
}

function* entries(vectors: readonly Float32Array[], format: EncodingFormat) {
  for (const [index, vector] of vectors.entries()) {
    yield { object: "embedding", index, embedding: format === "base64" ? base64Floats(vector) : [...vector] };
  }
}
