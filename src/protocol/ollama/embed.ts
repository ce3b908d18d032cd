/**
 * POST /api/embed, and /api/embeddings, its older form of one prompt (Ollama API, "Generate embeddings"). Inputs that
 * are too long are cut unless `truncate` is false, as in Ollama; everything else is as in OpenAI's /v1/embeddings.
 */
import * as z from "zod";
import type { Embeddings, EmbedRequest } from "../embed.ts";
import { jsonPieces } from "../json-pieces.ts";
import { lazily } from "../lazily.ts";
import { EMBEDDING_DIMENSIONS_MAX, EMBEDDING_INPUTS_MAX, TEXT_CHARS_MAX } from "../limits.ts";
import { checkCount, validate, validateObject } from "../openai/validate.ts";
import { nanoseconds } from "./counters.ts";
import { unloads } from "./keep-alive.ts";
import { checkOptions } from "./options.ts";
import { modelShape } from "./request-fields.ts";

const textSchema = lazily(() => z.string().min(1).max(TEXT_CHARS_MAX));

export const embedSchema = lazily(() =>
  z.object({
    ...modelShape(),
    input: z.union([textSchema(), z.array(textSchema()).min(1).max(EMBEDDING_INPUTS_MAX)]),
    truncate: z.boolean().nullish(),
    dimensions: z.int().min(1).max(EMBEDDING_DIMENSIONS_MAX).nullish(),
  }),
);

export const embeddingsSchema = lazily(() => z.object({ ...modelShape(), prompt: textSchema() }));

export function decodeOllamaEmbed(body: unknown, requestId: string): EmbedRequest {
  const raw = validateObject(body);
  checkIgnored(raw);
  checkCount(raw.input, EMBEDDING_INPUTS_MAX, ["input"]);
  const { model, input, truncate, dimensions } = validate(embedSchema(), raw);
  const texts = typeof input === "string" ? [input] : input;
  return embedRequest(requestId, model, texts, dimensions ?? null, truncate ?? true);
}

export function decodeOllamaEmbeddings(body: unknown, requestId: string): EmbedRequest {
  const raw = validateObject(body);
  checkIgnored(raw);
  const { model, prompt } = validate(embeddingsSchema(), raw);
  return embedRequest(requestId, model, [prompt], null, true);
}

/**
 * The body's text in pieces, one for each vector.
 *
 * @param model as the client called it
 */
export function ollamaEmbedPieces({ vectors, promptTokens }: Embeddings, model: string, tookMs: number) {
  const counters = { total_duration: nanoseconds(tookMs), load_duration: 0, prompt_eval_count: promptTokens };
  return jsonPieces({ model, ...counters }, "embeddings", lists(vectors));
}

function* lists(vectors: readonly Float32Array[]) {
  for (const vector of vectors) yield [...vector];
}

export function ollamaEmbeddingsBody({ vectors }: Embeddings) {
  return { embedding: [...vectors[0]!] };
}

function checkIgnored(raw: Record<string, unknown>): void {
  checkOptions(raw.options);
  unloads(raw.keep_alive);
}

function embedRequest(
  requestId: string,
  model: string,
  texts: readonly string[],
  dimensions: number | null,
  truncate: boolean,
): EmbedRequest {
  const prompts = texts.map((one) => ({ kind: "text" as const, text: one }));
  return { requestId, model, prompts, dimensions, truncate, cacheSalt: "" };
}
