/**
 * Request body of POST /v1/chat/completions (OpenAI API reference, "Create chat completion"; vLLM's extra sampling
 * fields). Decodes to a `WireRequest`, or throws the `ApiError` that says what is wrong.
 */

import * as z from "zod";
import { invalidRequest, unsupportedParameter } from "../errors.ts";
import type { Prompt } from "../generate.ts";
import { lazily } from "../lazily.ts";
import { CHOICES_PER_PROMPT_MAX, MODEL_NAME_CHARS_MAX, TOP_LOGPROBS_MAX } from "../limits.ts";
import type { WireRequest } from "../wire-request.ts";
import { beamShape, beamsOf } from "./beam-fields.ts";
import { constraintShape, decodeConstraint } from "./constraint-fields.ts";
import { answerStyleOf, checkFieldCounts, generationOf, generationShape } from "./generation-fields.ts";
import { JsonBounds } from "./json-bounds.ts";
import { decodeMessages, messageSchema } from "./messages.ts";
import { decodeTemplateArguments, templateShape } from "./template-fields.ts";
import { decodeToolUse, type ToolUse, toolShape } from "./tool-fields.ts";
import { refuseUnsupported } from "./unsupported.ts";
import { validate, validateObject } from "./validate.ts";

export const chatLogprobsShape = {
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(TOP_LOGPROBS_MAX).nullish(),
};

/** Everything but what is decoded by hand: messages, tools, variables of the template. */
const chatFieldsSchema = z.object({
  ...generationShape,
  ...chatLogprobsShape,
  ...beamShape,
  model: z.string().min(1).max(MODEL_NAME_CHARS_MAX),
  n: z.int().min(1).max(CHOICES_PER_PROMPT_MAX).nullish(),
  /** vLLM's: the last message is the beginning of the answer, which goes on from there. */
  continue_final_message: z.boolean().nullish(),
  /** vLLM wants false beside it. */
  add_generation_prompt: z.boolean().nullish(),
});

/** The whole body, for documentation. */
export const chatRequestSchema = lazily(() =>
  chatFieldsSchema.extend({
    messages: z.array(messageSchema).min(1),
    ...toolShape(),
    ...templateShape,
    ...constraintShape(),
  }),
);

export function decodeChatRequest(body: unknown, requestId: string): WireRequest {
  const raw = validateObject(body);
  refuseUnsupported(raw, "chat");
  checkFieldCounts(raw);
  const fields = validate(chatFieldsSchema, raw);
  const bounds = new JsonBounds();
  const use = decodeToolUse(raw, bounds);
  const n = fields.n ?? 1;
  const beams = beamsOf(fields, n);
  if (beams !== null && use.tools.length > 0) throw unsupportedParameter("tools");
  return {
    generate: {
      requestId,
      model: fields.model,
      prompts: [promptOf(raw, fields, use, bounds)],
      n,
      beams,
      ...generationOf(fields, null),
      constraint: decodeConstraint(raw, bounds),
      toolChoice: use.toolChoice,
      parallelToolCalls: use.parallelToolCalls,
      logprobs: chatLogprobsOf(fields),
      echo: false,
    },
    style: answerStyleOf(fields),
    promptCacheKey: fields.prompt_cache_key ?? null,
  };
}

function promptOf(
  raw: Record<string, unknown>,
  { continue_final_message, add_generation_prompt }: z.infer<typeof chatFieldsSchema>,
  { tools }: ToolUse,
  bounds: JsonBounds,
): Prompt {
  const messages = decodeMessages(raw.messages, bounds);
  const templateArguments = decodeTemplateArguments(raw, bounds);
  const extras = {
    ...(tools.length > 0 && { tools }),
    ...(Object.keys(templateArguments).length > 0 && { templateArguments }),
  };
  if (continue_final_message !== true) {
    if (add_generation_prompt === false) throw unsupportedParameter("add_generation_prompt", [true]);
    return { kind: "chat", messages, ...extras };
  }
  const last = messages.at(-1);
  if (last?.role !== "assistant" || last.toolCalls !== undefined || add_generation_prompt === true) {
    throw invalidRequest(
      "'continue_final_message' goes on from a last message of role 'assistant' without calls, and not with " +
        "add_generation_prompt.",
      "continue_final_message",
    );
  }
  return { kind: "chat", messages: messages.slice(0, -1), answerSoFar: last.content, ...extras };
}

/** Number of alternatives, 0 for the chosen token's own logprob only, null for none at all. */
export function chatLogprobsOf(fields: z.infer<z.ZodObject<typeof chatLogprobsShape>>): number | null {
  if (fields.logprobs === true) return fields.top_logprobs ?? 0;
  if (fields.top_logprobs == null || fields.top_logprobs === 0) return null;
  throw invalidRequest("'top_logprobs' may be set only together with \"logprobs\": true.", "top_logprobs");
}
