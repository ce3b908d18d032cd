/**
 * Chat messages: OpenAI's shapes in, `ChatMessage`s out. `developer` is the newer name of `system`. Text parts are
 * joined by a line break, as vLLM and llama.cpp do.
 */

import * as z from "zod";
import { invalidRequest, unsupportedContent, unsupportedParameter } from "../errors.ts";
import type { ChatMessage, ChatRole } from "../generate.ts";
import { CONTENT_PARTS_MAX, IDENTIFIER_CHARS_MAX, MESSAGES_MAX, TEXT_CHARS_MAX } from "../limits.ts";
import { checkCount, dotted, validate } from "./validate.ts";

const text = z.string().max(TEXT_CHARS_MAX);

export const contentSchema = z.union([
  text,
  z
    .array(z.object({ type: z.literal("text"), text }))
    .min(1)
    .max(CONTENT_PARTS_MAX),
]);

export type Content = z.infer<typeof contentSchema>;

export const messageSchema = z.object({
  role: z.enum(["system", "developer", "user", "assistant"]),
  content: contentSchema,
  name: z.string().max(IDENTIFIER_CHARS_MAX).nullish(),
});

const messageListSchema = z.array(z.unknown());

const PART_SEPARATOR = "\n";

/** Roles that only make sense after a tool call. */
const TOOL_ROLES: readonly unknown[] = ["tool", "function"];
/** Fields of an assistant's message that text cannot stand for. */
const UNSUPPORTED_FIELDS = ["tool_calls", "function_call", "audio"];

/** One message after the other, so that the first fault ends the work. */
export function decodeMessages(value: unknown): ChatMessage[] {
  const messages = validate(messageListSchema, value, ["messages"]);
  if (messages.length === 0) throw invalidRequest("'messages' must have at least 1 entry, but has 0.", "messages");
  checkCount(messages, MESSAGES_MAX, ["messages"]);
  return messages.map((message, index) => decodeMessage(message, ["messages", index]));
}

/** @param path of the content within the body */
export function decodeContent(value: unknown, path: readonly PropertyKey[]): string {
  checkContentParts(value, path);
  return joinContent(validate(contentSchema, value, path));
}

function decodeMessage(value: unknown, path: readonly PropertyKey[]): ChatMessage {
  if (typeof value === "object" && value !== null) refuseUnsupported(value as Record<string, unknown>, path);
  const { role, content, name } = validate(messageSchema, value, path);
  const message: ChatMessage = { role: chatRole(role), content: joinContent(content) };
  if (name != null) message.name = name;
  return message;
}

function refuseUnsupported(message: Record<string, unknown>, path: readonly PropertyKey[]): void {
  if (TOOL_ROLES.includes(message.role)) throw unsupportedParameter(`${dotted(path)}.role`);
  for (const field of UNSUPPORTED_FIELDS) {
    const value = Object.hasOwn(message, field) ? message[field] : null;
    const isNeutral = value == null || (Array.isArray(value) && value.length === 0);
    if (!isNeutral) throw unsupportedParameter(dotted([...path, field]));
  }
  checkContentParts(message.content, [...path, "content"]);
}

/** Names a picture a picture; otherwise it would only be "not a text part". */
function checkContentParts(content: unknown, path: readonly PropertyKey[]): void {
  checkCount(content, CONTENT_PARTS_MAX, path);
  if (!Array.isArray(content)) return;
  for (const [index, part] of content.entries()) {
    const type: unknown = part?.type;
    if (typeof type === "string" && type !== "text") {
      throw unsupportedContent(dotted([...path, index]), type.slice(0, IDENTIFIER_CHARS_MAX));
    }
  }
}

function joinContent(content: Content): string {
  return typeof content === "string" ? content : content.map((part) => part.text).join(PART_SEPARATOR);
}

function chatRole(role: z.infer<typeof messageSchema>["role"]): ChatRole {
  return role === "developer" ? "system" : role;
}
