/**
 * Fields that chat completions, completions and session messages have in common, and their meaning in a
 * `GenerateRequest`. Absent and null are the same. The shape holds no transforms, so it is documentation, too.
 *
 * Defaults are OpenAI's: temperature 1, everything else off. Names beyond OpenAI's are vLLM's.
 */

import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import type { GenerateRequest } from "../generate.ts";
import {
  ALLOWED_TOKEN_IDS_MAX,
  BAD_WORD_CHARS_MAX,
  BAD_WORDS_MAX,
  IDENTIFIER_CHARS_MAX,
  LOGIT_BIAS_ABS_MAX,
  LOGIT_BIAS_ENTRIES_MAX,
  MAX_TOKENS_MAX,
  PENALTY_ABS_MAX,
  PRIORITY_ABS_MAX,
  REPETITION_PENALTY_MAX,
  SEED_ABS_MAX,
  STOP_STRING_CHARS_MAX,
  STOP_STRINGS_MAX,
  STOP_TOKEN_IDS_MAX,
  TEMPERATURE_MAX,
  TOKEN_ID_MAX,
} from "../limits.ts";
import type { AnswerStyle } from "../wire-request.ts";
import { checkCount, quote } from "./validate.ts";

const penalty = z.number().min(-PENALTY_ABS_MAX).max(PENALTY_ABS_MAX).nullish();
const maxTokens = z.int().min(0).max(MAX_TOKENS_MAX).nullish();
const stopString = z.string().min(1).max(STOP_STRING_CHARS_MAX);
const identifier = z.string().max(IDENTIFIER_CHARS_MAX).nullish();

export const generationShape = {
  temperature: z.number().min(0).max(TEMPERATURE_MAX).nullish(),
  top_p: z.number().min(0).max(1).nullish(),
  /** 0 and -1 switch it off. */
  top_k: z.int().min(-1).max(TOKEN_ID_MAX).nullish(),
  min_p: z.number().min(0).max(1).nullish(),
  repetition_penalty: z.number().gt(0).max(REPETITION_PENALTY_MAX).nullish(),
  presence_penalty: penalty,
  frequency_penalty: penalty,
  /** Token id (as a string, JSON's only kind of key) to what is added to its logit. */
  logit_bias: z.record(z.string(), z.number().min(-LOGIT_BIAS_ABS_MAX).max(LOGIT_BIAS_ABS_MAX)).nullish(),
  /** A whole number in the range of an int64. */
  seed: z.number().refine(Number.isInteger, "must be an integer").min(-SEED_ABS_MAX).max(SEED_ABS_MAX).nullish(),
  max_tokens: maxTokens,
  /** The newer name; wins where both are given. */
  max_completion_tokens: maxTokens,
  stop: z.union([stopString, z.array(stopString).max(STOP_STRINGS_MAX)]).nullish(),
  stop_token_ids: z.array(z.int().min(0).max(TOKEN_ID_MAX)).max(STOP_TOKEN_IDS_MAX).nullish(),
  ignore_eos: z.boolean().nullish(),
  /** vLLM's: no end-of-generation token or stop token before so many tokens. */
  min_tokens: maxTokens,
  /** vLLM's: the only tokens that may be sampled. */
  allowed_token_ids: z.array(z.int().min(0).max(TOKEN_ID_MAX)).min(1).max(ALLOWED_TOKEN_IDS_MAX).nullish(),
  /** vLLM's: words that may not be generated. */
  bad_words: z.array(z.string().min(1).max(BAD_WORD_CHARS_MAX)).max(BAD_WORDS_MAX).nullish(),
  stream: z.boolean().nullish(),
  stream_options: z.object({ include_usage: z.boolean().nullish() }).nullish(),
  /** Ignored; some clients put a whole JSON text here, so only the body's limit bounds it. */
  user: z.string().nullish(),
  prompt_cache_key: identifier,
  cache_salt: identifier,
  /** Lower ones wait less where requests queue (vLLM). */
  priority: z.int().min(-PRIORITY_ABS_MAX).max(PRIORITY_ABS_MAX).nullish(),
};

export type GenerationFields = z.infer<z.ZodObject<typeof generationShape>>;

/** Run before the schema, see `validate.ts`. */
export function checkFieldCounts(body: object): void {
  const fields = body as Record<string, unknown>;
  checkCount(fields.stop, STOP_STRINGS_MAX, ["stop"]);
  checkCount(fields.stop_token_ids, STOP_TOKEN_IDS_MAX, ["stop_token_ids"]);
  checkCount(fields.allowed_token_ids, ALLOWED_TOKEN_IDS_MAX, ["allowed_token_ids"]);
  checkCount(fields.bad_words, BAD_WORDS_MAX, ["bad_words"]);
  checkCount(fields.logit_bias, LOGIT_BIAS_ENTRIES_MAX, ["logit_bias"]);
}

type SharedFields = Omit<GenerateRequest, "requestId" | "model" | "prompts" | "n" | "beams" | "logprobs" | "echo">;

/** @param maxTokensDefault for a request that names no limit; null = whatever the context leaves */
export function generationOf(fields: GenerationFields, maxTokensDefault: number | null): SharedFields {
  const maxTokens = fields.max_completion_tokens ?? fields.max_tokens ?? maxTokensDefault;
  return {
    sampling: {
      temperature: fields.temperature ?? 1,
      topK: Math.max(fields.top_k ?? 0, 0),
      topP: fields.top_p ?? 1,
      minP: fields.min_p ?? 0,
      repetitionPenalty: fields.repetition_penalty ?? 1,
      presencePenalty: fields.presence_penalty ?? 0,
      frequencyPenalty: fields.frequency_penalty ?? 0,
      logitBias: logitBiasOf(fields.logit_bias ?? {}),
      seed: fields.seed ?? null,
    },
    maxTokens,
    stopStrings: typeof fields.stop === "string" ? [fields.stop] : (fields.stop ?? []),
    stopTokenIds: fields.stop_token_ids ?? [],
    ignoreEos: fields.ignore_eos ?? false,
    constraint: null,
    toolChoice: "none",
    parallelToolCalls: true,
    minTokens: minTokensOf(fields.min_tokens ?? 0, maxTokens),
    allowedTokenIds: fields.allowed_token_ids ?? null,
    badWords: fields.bad_words ?? [],
    cacheSalt: fields.cache_salt ?? "",
    priority: fields.priority ?? 0,
  };
}

function minTokensOf(minTokens: number, maxTokens: number | null): number {
  if (maxTokens === null || minTokens <= maxTokens) return minTokens;
  throw invalidRequest(
    `'min_tokens' must be at most max_tokens (here ${maxTokens}), but is ${minTokens}.`,
    "min_tokens",
  );
}

export function answerStyleOf(fields: GenerationFields): AnswerStyle {
  const stream = fields.stream ?? false;
  if (!stream && fields.stream_options != null) {
    throw invalidRequest("'stream_options' may be set only together with \"stream\": true.", "stream_options");
  }
  return { stream, includeUsage: fields.stream_options?.include_usage ?? false };
}

function logitBiasOf(entries: Record<string, number>): [number, number][] {
  return Object.entries(entries).map(([key, bias]) => {
    // Only the canonical form, so that no id can come twice ("7" and "07").
    if (!/^(0|[1-9]\d{0,9})$/.test(key) || Number(key) > TOKEN_ID_MAX) {
      throw invalidRequest(
        `The keys of 'logit_bias' must be token ids from 0 to ${TOKEN_ID_MAX}, but one is ${quote(key)}.`,
        "logit_bias",
      );
    }
    return [Number(key), bias];
  });
}
