/** Request body of POST /api/chat (Ollama API, "Generate a chat message"). */
import * as z from "zod";
import type { Prompt } from "../generate.ts";
import { validate, validateObject } from "../openai/validate.ts";
import { type RefusedField, refuseFields } from "../refused-fields.ts";
import { decodeMessages, messageSchema } from "./messages.ts";
import { answerShape, looseShape, type OllamaRequest, ollamaRequest } from "./request-fields.ts";
import { decodeThink } from "./think.ts";

const fieldsSchema = z.object(answerShape);

/** The whole body, for documentation. */
export const ollamaChatRequestSchema = fieldsSchema.extend({
  ...looseShape,
  messages: z.array(messageSchema).nullish(),
});

export const REFUSED_OF_CHAT: readonly RefusedField[] = [{ field: "tools", neutral: [[]] }];

export function decodeOllamaChat(body: unknown, requestId: string): OllamaRequest {
  const raw = validateObject(body);
  refuseFields(raw, REFUSED_OF_CHAT);
  const fields = validate(fieldsSchema, raw);
  const messages = decodeMessages(raw.messages);
  const templateArguments = decodeThink(raw.think);
  const prompt: Prompt = { kind: "chat", messages, ...(templateArguments !== null && { templateArguments }) };
  return ollamaRequest(raw, fields, messages.length === 0 ? null : prompt, requestId);
}
