/**
 * Request body of POST /api/generate (Ollama API, "Generate a completion"): the prompt is a user's message, or with `raw`
 * the text itself.
 *
 * `context`, Ollama's deprecated memory of token ids, is refused: ids say nothing about where messages begin and end, and
 * a chat keeps its memory in `messages`. Nor does an answer have one.
 */
import * as z from "zod";
import { invalidRequest } from "../errors.ts";
import type { ChatMessage, Prompt } from "../generate.ts";
import { lazily } from "../lazily.ts";
import { TEXT_CHARS_MAX } from "../limits.ts";
import { JsonBounds } from "../openai/json-bounds.ts";
import { validate, validateObject } from "../openai/validate.ts";
import { type RefusedField, refuseFields } from "../refused-fields.ts";
import { refuseImages } from "./messages.ts";
import { answerShape, looseShape, type OllamaRequest, ollamaRequest } from "./request-fields.ts";
import { decodeThink } from "./think.ts";

const fieldsSchema = lazily(() => {
  const text = z.string().max(TEXT_CHARS_MAX).nullish();
  return z.object({
    ...answerShape(),
    prompt: text,
    system: text,
    /** No chat template: the model sees the prompt as it is. */
    raw: z.boolean().nullish(),
  });
});

/** The whole body, for documentation. */
export const ollamaGenerateRequestSchema = lazily(() => fieldsSchema().extend(looseShape()));

export const REFUSED_OF_GENERATE: readonly RefusedField[] = [
  { field: "suffix", neutral: [""] },
  { field: "template", neutral: [""] },
  { field: "context", neutral: [[]] },
];

export function decodeOllamaGenerate(body: unknown, requestId: string): OllamaRequest {
  const raw = validateObject(body);
  refuseFields(raw, REFUSED_OF_GENERATE);
  refuseImages(raw.images, "images");
  const fields = validate(fieldsSchema(), raw);
  return ollamaRequest(raw, fields, promptOf(fields, decodeThink(raw.think)), requestId, new JsonBounds());
}

function promptOf(
  { prompt, system, raw }: z.infer<ReturnType<typeof fieldsSchema>>,
  templateArguments: Record<string, unknown> | null,
): Prompt | null {
  if (raw === true && system != null && system !== "") {
    throw invalidRequest(
      "'system' has no place in a raw prompt. Put its text into the prompt, or leave 'raw' out.",
      "system",
    );
  }
  if (prompt == null || prompt === "") return null;
  if (raw === true) return { kind: "text", text: prompt };
  const messages: ChatMessage[] = [{ role: "user", content: prompt }];
  if (system != null && system !== "") messages.unshift({ role: "system", content: system });
  return { kind: "chat", messages, ...(templateArguments !== null && { templateArguments }) };
}
