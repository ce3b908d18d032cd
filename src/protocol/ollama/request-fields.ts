/** Fields that /api/chat and /api/generate have in common, and what both mean by them. */
import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import type { GenerateRequest, Prompt } from "../generate.ts";
import { lazily } from "../lazily.ts";
import { MODEL_NAME_CHARS_MAX, TOP_LOGPROBS_MAX } from "../limits.ts";
import type { JsonBounds } from "../openai/json-bounds.ts";
import { PLAIN_REQUEST } from "../plain-request.ts";
import { decodeFormat } from "./format.ts";
import { unloads } from "./keep-alive.ts";
import { decodeOptions } from "./options.ts";

export const modelShape = lazily(() => ({ model: z.string().min(1).max(MODEL_NAME_CHARS_MAX) }));

export const answerShape = lazily(() => ({
  ...modelShape(),
  /** Absent = true. */
  stream: z.boolean().nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(TOP_LOGPROBS_MAX).nullish(),
}));

type AnswerFields = z.infer<z.ZodObject<ReturnType<typeof answerShape>>>;

/** Decoded apart from the schema, for documentation. */
export const looseShape = lazily(() => ({
  options: z.record(z.string(), z.unknown()).nullish(),
  format: z.union([z.literal(["", "json"]), z.record(z.string(), z.unknown())]).nullish(),
  keep_alive: z.union([z.number(), z.string()]).nullish(),
  think: z.union([z.boolean(), z.enum(["low", "medium", "high"])]).nullish(),
}));

/** What a request of Ollama's asks for. */
export interface OllamaRequest {
  /** null = it has no prompt, and only asks that the model be loaded, or unloaded. */
  generate: GenerateRequest | null;
  model: string;
  stream: boolean;
  /** Without a prompt: the model need not stay. */
  unloads: boolean;
}

/**
 * @param prompt null = none
 * @param bounds those of the request, which count the values of its prompt, too
 */
export function ollamaRequest(
  raw: Record<string, unknown>,
  fields: AnswerFields,
  prompt: Prompt | null,
  requestId: string,
  bounds: JsonBounds,
): OllamaRequest {
  const sampled = decodeOptions(raw.options);
  const constraint = decodeFormat(raw.format, bounds);
  const logprobs = logprobsOf(fields);
  const { model } = fields;
  const shared = { model, stream: fields.stream ?? true, unloads: unloads(raw.keep_alive) };
  if (prompt === null) return { ...shared, generate: null };
  return {
    ...shared,
    generate: {
      ...PLAIN_REQUEST,
      ...sampled,
      requestId,
      model,
      prompts: [prompt],
      constraint,
      toolChoice: prompt.kind === "chat" && prompt.tools !== undefined ? "auto" : "none",
      logprobs,
    },
  };
}

function logprobsOf({ logprobs, top_logprobs }: AnswerFields): number | null {
  if (logprobs === true) return top_logprobs ?? 0;
  if (top_logprobs == null || top_logprobs === 0) return null;
  throw invalidRequest("'top_logprobs' may be set only together with \"logprobs\": true.", "top_logprobs");
}
