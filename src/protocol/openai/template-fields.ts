/**
 * What a client may tell the model's chat template: vLLM's `chat_template_kwargs` and `documents`, OpenAI's
 * `reasoning_effort`. Templates that know such a variable heed it, others do not.
 */

import * as z from "zod";
import { DOCUMENTS_MAX, IDENTIFIER_CHARS_MAX, TEMPLATE_ARGUMENTS_MAX } from "../limits.ts";
import type { JsonBounds } from "./json-bounds.ts";
import { checkCount, validate } from "./validate.ts";

export const templateShape = {
  chat_template_kwargs: z.record(z.string(), z.unknown()).nullish(),
  documents: z.array(z.record(z.string(), z.unknown())).max(DOCUMENTS_MAX).nullish(),
  /** OpenAI's words are none, minimal, low, medium, high and xhigh; a template knows its own. "none" = no thoughts. */
  reasoning_effort: z.string().min(1).max(IDENTIFIER_CHARS_MAX).nullish(),
};

const templateSchema = z.object(templateShape);

/** Variables of the template; none where nothing is asked for. */
export function decodeTemplateArguments(body: Record<string, unknown>, bounds: JsonBounds): Record<string, unknown> {
  checkCount(body.chat_template_kwargs, TEMPLATE_ARGUMENTS_MAX, ["chat_template_kwargs"]);
  checkCount(body.documents, DOCUMENTS_MAX, ["documents"]);
  const { chat_template_kwargs, documents, reasoning_effort } = validate(templateSchema, body);
  bounds.check(chat_template_kwargs, ["chat_template_kwargs"]);
  bounds.check(documents, ["documents"]);
  return {
    ...(documents != null && documents.length > 0 && { documents }),
    ...(reasoning_effort != null && { reasoning_effort }),
    ...(reasoning_effort === "none" && { enable_thinking: false }),
    ...chat_template_kwargs,
  };
}
