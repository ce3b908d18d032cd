/**
 * Request body of POST /v1/completions (OpenAI API reference, "Create completion"; vLLM's extra sampling fields).
 * The prompt is a text, a list of texts, a list of token ids, or a list of such lists; one request may hold several.
 */

import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import { lazily } from "../lazily.ts";
import {
  CHOICES_MAX,
  CHOICES_PER_PROMPT_MAX,
  COMPLETION_LOGPROBS_MAX,
  MODEL_NAME_CHARS_MAX,
  PROMPTS_MAX,
} from "../limits.ts";
import type { WireRequest } from "../wire-request.ts";
import { beamShape, beamsOf } from "./beam-fields.ts";
import { constraintShape, decodeConstraint } from "./constraint-fields.ts";
import { answerStyleOf, checkFieldCounts, generationOf, generationShape } from "./generation-fields.ts";
import { JsonBounds } from "./json-bounds.ts";
import { decodePrompts, promptsSchema } from "./prompts.ts";
import { refuseUnsupported } from "./unsupported.ts";
import { validate, validateObject } from "./validate.ts";

/** OpenAI's, kept since clients rely on short answers here. */
export const COMPLETION_MAX_TOKENS_DEFAULT = 16;

const completionFieldsSchema = z.object({
  ...generationShape,
  model: z.string().min(1).max(MODEL_NAME_CHARS_MAX),
  n: z.int().min(1).max(CHOICES_PER_PROMPT_MAX).nullish(),
  ...beamShape,
  echo: z.boolean().nullish(),
  logprobs: z.int().min(0).max(COMPLETION_LOGPROBS_MAX).nullish(),
});

/** The whole body, for documentation. */
export const completionRequestSchema = lazily(() =>
  completionFieldsSchema.extend({ prompt: promptsSchema(PROMPTS_MAX), ...constraintShape() }),
);

export function decodeCompletionRequest(body: unknown, requestId: string): WireRequest {
  const raw = validateObject(body);
  refuseUnsupported(raw, "completions");
  checkFieldCounts(raw);
  const fields = validate(completionFieldsSchema, raw);
  const prompts = decodePrompts(raw.prompt, "prompt", PROMPTS_MAX);
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
