/** Request body of POST /api/chat (Ollama API, "Generate a chat message"). Its tools have OpenAI's shape. */
import * as z from "zod";
import type { Prompt } from "../generate.ts";
import { lazily } from "../lazily.ts";
import { JsonBounds } from "../openai/json-bounds.ts";
import { decodeToolUse, toolShape } from "../openai/tool-fields.ts";
import { validate, validateObject } from "../openai/validate.ts";
import { decodeMessages, messageSchema } from "./messages.ts";
import { answerShape, looseShape, type OllamaRequest, ollamaRequest } from "./request-fields.ts";
import { decodeThink } from "./think.ts";

const fieldsSchema = lazily(() => z.object(answerShape()));

/** The whole body, for documentation. */
export const ollamaChatRequestSchema = lazily(() =>
  fieldsSchema().extend({
    ...looseShape(),
    messages: z.array(messageSchema()).nullish(),
    tools: toolShape().tools,
  }),
);

export function decodeOllamaChat(body: unknown, requestId: string): OllamaRequest {
  const raw = validateObject(body);
  const fields = validate(fieldsSchema(), raw);
  const bounds = new JsonBounds();
  const messages = decodeMessages(raw.messages, bounds);
  // Clients of Ollama send an empty list for none.
  const hasTools = !Array.isArray(raw.tools) || raw.tools.length > 0;
  const { tools } = decodeToolUse({ tools: hasTools ? raw.tools : null }, bounds);
  const templateArguments = decodeThink(raw.think);
  const prompt: Prompt = {
    kind: "chat",
    messages,
    ...(tools.length > 0 && { tools }),
    ...(templateArguments !== null && { templateArguments }),
  };
  return ollamaRequest(raw, fields, messages.length === 0 ? null : prompt, requestId, bounds);
}
