/**
 * Request body of POST /v1/completions (OpenAI API reference, "Create completion"; vLLM's extra sampling fields).
 * The prompt is a text, a list of texts, a list of token ids, or a list of such lists; one request may hold several.
 */

import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import type { Prompt } from "../generate.ts";
import {
  CHOICES_MAX,
  CHOICES_PER_PROMPT_MAX,
  COMPLETION_LOGPROBS_MAX,
  MODEL_NAME_CHARS_MAX,
  PROMPT_TOKENS_MAX,
  PROMPTS_MAX,
  TEXT_CHARS_MAX,
  TOKEN_ID_MAX,
} from "../limits.ts";
import type { WireRequest } from "../wire-request.ts";
import { beamShape, beamsOf } from "./beam-fields.ts";
import { constraintShape, decodeConstraint } from "./constraint-fields.ts";
import { answerStyleOf, checkFieldCounts, generationOf, generationShape } from "./generation-fields.ts";
import { JsonBounds } from "./json-bounds.ts";
import { refuseUnsupported } from "./unsupported.ts";
import { checkCount, dotted, quote, validate, validateObject } from "./validate.ts";

/** OpenAI's, kept since clients rely on short answers here. */
export const COMPLETION_MAX_TOKENS_DEFAULT = 16;

const promptText = z.string().max(TEXT_CHARS_MAX);
const promptTokens = z.array(z.int().min(0).max(TOKEN_ID_MAX)).min(1).max(PROMPT_TOKENS_MAX);

const completionFieldsSchema = z.object({
  ...generationShape,
  model: z.string().min(1).max(MODEL_NAME_CHARS_MAX),
  n: z.int().min(1).max(CHOICES_PER_PROMPT_MAX).nullish(),
  ...beamShape,
  echo: z.boolean().nullish(),
  logprobs: z.int().min(0).max(COMPLETION_LOGPROBS_MAX).nullish(),
});

/** The whole body, for documentation; the prompt is decoded by hand, since it may hold a hundred thousand entries. */
export const completionRequestSchema = completionFieldsSchema.extend({
  prompt: z.union([
    promptText,
    z.array(promptText).min(1).max(PROMPTS_MAX),
    promptTokens,
    z.array(promptTokens).min(1).max(PROMPTS_MAX),
  ]),
  ...constraintShape,
});

export function decodeCompletionRequest(body: unknown, requestId: string): WireRequest {
  const raw = validateObject(body);
  refuseUnsupported(raw, "completions");
  checkFieldCounts(raw);
  const fields = validate(completionFieldsSchema, raw);
  const prompts = decodePrompts(raw.prompt);
  const n = fields.n ?? 1;
  const beams = beamsOf(fields, n);
  checkChoices(prompts.length, beams?.width ?? n);
  return {
    generate: {
      requestId,
      model: fields.model,
      prompts,
      n,
      beams,
      ...generationOf(fields, COMPLETION_MAX_TOKENS_DEFAULT),
      constraint: decodeConstraint(raw, new JsonBounds()),
      logprobs: fields.logprobs ?? null,
      echo: fields.echo ?? false,
    },
    style: answerStyleOf(fields),
    promptCacheKey: fields.prompt_cache_key ?? null,
  };
}

/** @param n choices of each prompt, or beams */
function checkChoices(numPrompts: number, n: number): void {
  if (numPrompts * n <= CHOICES_MAX) return;
  throw invalidRequest(
    `${numPrompts} prompts with n = ${n} make ${numPrompts * n} choices; the limit is ${CHOICES_MAX}.`,
    "n",
  );
}

const WANTED = "a text, a list of texts, a list of token ids, or a list of lists of token ids";

function decodePrompts(value: unknown): Prompt[] {
  if (typeof value === "string") return [decodePrompt(value, ["prompt"])];
  if (value == null) throw invalidRequest(`'prompt' is required: ${WANTED}.`, "prompt");
  if (!Array.isArray(value)) throw invalidRequest(`'prompt' must be ${WANTED}, but is ${quote(value)}.`, "prompt");
  if (value.length === 0) throw invalidRequest("'prompt' must have at least 1 entry, but has 0.", "prompt");
  if (typeof value[0] === "number") return [decodePrompt(value, ["prompt"])];
  checkCount(value, PROMPTS_MAX, ["prompt"]);
  const kind = kindOf(value[0]);
  return value.map((prompt, index) => {
    if (kindOf(prompt) !== kind || kind === null) {
      const param = dotted(["prompt", index]);
      throw invalidRequest(`'prompt' must be ${WANTED}, but '${param}' is ${quote(prompt)}.`, param);
    }
    return decodePrompt(prompt, ["prompt", index]);
  });
}

function kindOf(prompt: unknown): "text" | "tokens" | null {
  if (typeof prompt === "string") return "text";
  return Array.isArray(prompt) ? "tokens" : null;
}

function decodePrompt(prompt: string | unknown[], path: readonly PropertyKey[]): Prompt {
  if (typeof prompt === "string") return { kind: "text", text: validate(promptText, prompt, path) };
  const param = dotted(path);
  if (prompt.length === 0) throw invalidRequest(`'${param}' must have at least 1 token id, but has 0.`, param);
  checkCount(prompt, PROMPT_TOKENS_MAX, path);
  for (const [index, id] of prompt.entries()) {
    if (Number.isInteger(id) && (id as number) >= 0 && (id as number) <= TOKEN_ID_MAX) continue;
    const at = dotted([...path, index]);
    throw invalidRequest(`'${at}' must be a token id from 0 to ${TOKEN_ID_MAX}, but is ${quote(id)}.`, at);
  }
  return { kind: "tokens", tokens: prompt as number[] };
}
