/**
 * Request body of POST /v1/chat/completions (OpenAI API reference, "Create chat completion"; vLLM's extra sampling
 * fields). Decodes to a `WireRequest`, or throws the `ApiError` that says what is wrong.
 */

import * as z from "zod";
import { invalidRequest, unsupportedParameter } from "../errors.ts";
import type { Prompt } from "../generate.ts";
import { CHOICES_PER_PROMPT_MAX, MODEL_NAME_CHARS_MAX, TOP_LOGPROBS_MAX } from "../limits.ts";
import type { WireRequest } from "../wire-request.ts";
import { beamShape, beamsOf } from "./beam-fields.ts";
import { answerStyleOf, checkFieldCounts, generationOf, generationShape } from "./generation-fields.ts";
import { decodeMessages, messageSchema } from "./messages.ts";
import { refuseUnsupported } from "./unsupported.ts";
import { validate, validateObject } from "./validate.ts";

export const chatLogprobsShape = {
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(TOP_LOGPROBS_MAX).nullish(),
};

/** Everything but the messages, which `decodeMessages` takes one by one. */
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
export const chatRequestSchema = chatFieldsSchema.extend({ messages: z.array(messageSchema).min(1) });

export function decodeChatRequest(body: unknown, requestId: string): WireRequest {
  const raw = validateObject(body);
  refuseUnsupported(raw, "chat");
  checkFieldCounts(raw);
  const fields = validate(chatFieldsSchema, raw);
  const n = fields.n ?? 1;
  return {
    generate: {
      requestId,
      model: fields.model,
      prompts: [promptOf(raw.messages, fields)],
      n,
      beams: beamsOf(fields, n),
      ...generationOf(fields, null),
      logprobs: chatLogprobsOf(fields),
      echo: false,
    },
    style: answerStyleOf(fields),
    promptCacheKey: fields.prompt_cache_key ?? null,
  };
}

function promptOf(
  value: unknown,
  { continue_final_message, add_generation_prompt }: z.infer<typeof chatFieldsSchema>,
): Prompt {
  const messages = decodeMessages(value);
  if (continue_final_message !== true) {
    if (add_generation_prompt === false) throw unsupportedParameter("add_generation_prompt", [true]);
    return { kind: "chat", messages };
  }
  const last = messages.at(-1);
  if (last?.role !== "assistant" || add_generation_prompt === true) {
    throw invalidRequest(
      "'continue_final_message' goes on from a last message of role 'assistant', and not with add_generation_prompt.",
      "continue_final_message",
    );
  }
  return { kind: "chat", messages: messages.slice(0, -1), answerSoFar: last.content };
}

/** Number of alternatives, 0 for the chosen token's own logprob only, null for none at all. */
export function chatLogprobsOf(fields: z.infer<z.ZodObject<typeof chatLogprobsShape>>): number | null {
  if (fields.logprobs === true) return fields.top_logprobs ?? 0;
  if (fields.top_logprobs == null || fields.top_logprobs === 0) return null;
  throw invalidRequest("'top_logprobs' may be set only together with \"logprobs\": true.", "top_logprobs");
}
