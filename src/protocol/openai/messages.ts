/**
 * Chat messages: OpenAI's shapes in, `ChatMessage`s out. `developer` is the newer name of `system`. Text parts are
 * joined by a line break, as vLLM and llama.cpp do.
 */

import * as z from "zod";
import { invalidRequest, unsupportedContent, unsupportedParameter } from "../errors.ts";
import type { ChatMessage, ToolCall } from "../generate.ts";
import {
  CONTENT_PARTS_MAX,
  IDENTIFIER_CHARS_MAX,
  MESSAGE_TOOL_CALLS_MAX,
  MESSAGES_MAX,
  TEXT_CHARS_MAX,
} from "../limits.ts";
import { JsonBounds } from "./json-bounds.ts";
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

const identifier = z.string().min(1).max(IDENTIFIER_CHARS_MAX);
const name = z.string().max(IDENTIFIER_CHARS_MAX).nullish();

const madeCallSchema = z.object({ name: identifier, arguments: text.nullish() });
const callSchema = z.object({ id: identifier, type: z.literal("function").nullish(), function: madeCallSchema });

const plainSchema = z.object({ role: z.enum(["system", "developer", "user"]), content: contentSchema, name });
const assistantSchema = z.object({
  role: z.literal("assistant"),
  /** May be missing where there are calls. */
  content: contentSchema.nullish(),
  name,
  tool_calls: z.array(callSchema).max(MESSAGE_TOOL_CALLS_MAX).nullish(),
  /** OpenAI's older form of a call; its result is a message of role "function". */
  function_call: madeCallSchema.nullish(),
  /** Either name, as answers have both. */
  reasoning_content: text.nullish(),
  reasoning: text.nullish(),
});
const resultSchema = z.object({ role: z.literal("tool"), content: contentSchema, tool_call_id: identifier, name });
const functionResultSchema = z.object({ role: z.literal("function"), content: contentSchema, name: identifier });

/** For documentation; messages are decoded one by one. */
export const messageSchema = z.union([plainSchema, assistantSchema, resultSchema, functionResultSchema]);

const roleSchema = z.object({ role: z.enum(["system", "developer", "user", "assistant", "tool", "function"]) });

const messageListSchema = z.array(z.unknown());

const PART_SEPARATOR = "\n";

/** One message after the other, so that the first fault ends the work. */
export function decodeMessages(value: unknown, bounds = new JsonBounds()): ChatMessage[] {
  const messages = validate(messageListSchema, value, ["messages"]);
  if (messages.length === 0) throw invalidRequest("'messages' must have at least 1 entry, but has 0.", "messages");
  checkCount(messages, MESSAGES_MAX, ["messages"]);
  return messages.map((message, index) => decodeMessage(message, ["messages", index], bounds));
}

/** @param path of the content within the body */
export function decodeContent(value: unknown, path: readonly PropertyKey[]): string {
  checkContentParts(value, path);
  return joinContent(validate(contentSchema, value, path));
}

function decodeMessage(value: unknown, path: readonly PropertyKey[], bounds: JsonBounds): ChatMessage {
  const { role } = validate(roleSchema, value, path);
  const fields = value as Record<string, unknown>;
  checkContentParts(fields.content, [...path, "content"]);
  switch (role) {
    case "assistant":
      return assistantMessage(fields, path, bounds);
    case "tool": {
      const { content, tool_call_id, name } = validate(resultSchema, value, path);
      return { role, content: joinContent(content), ...named(name), toolCallId: tool_call_id };
    }
    case "function": {
      const { content, name } = validate(functionResultSchema, value, path);
      return { role: "tool", content: joinContent(content), name, toolCallId: functionCallId(name) };
    }
    default: {
      const { content, name } = validate(plainSchema, value, path);
      // `developer` is the newer name.
      return { role: role === "user" ? role : "system", content: joinContent(content), ...named(name) };
    }
  }
}

function assistantMessage(
  fields: Record<string, unknown>,
  path: readonly PropertyKey[],
  bounds: JsonBounds,
): ChatMessage {
  if (fields.audio != null) throw unsupportedParameter(dotted([...path, "audio"]));
  const toolCalls = decodeCalls(fields.tool_calls, [...path, "tool_calls"], bounds);
  const { content, name, function_call, reasoning_content, reasoning } = validate(
    assistantSchema,
    { ...fields, tool_calls: null },
    path,
  );
  if (function_call != null) {
    bounds.check(jsonOf(function_call.arguments), [...path, "function_call", "arguments"]);
    toolCalls.push({ id: functionCallId(function_call.name), ...callOf(function_call) });
  }
  const thoughts = reasoning_content ?? reasoning ?? "";
  const mayBeSilent = toolCalls.length > 0;
  return {
    role: "assistant",
    content: joinContent(mayBeSilent ? (content ?? "") : validate(contentSchema, content, [...path, "content"])),
    ...named(name),
    ...(toolCalls.length > 0 && { toolCalls }),
    ...(thoughts !== "" && { reasoning: thoughts }),
  };
}

function decodeCalls(value: unknown, path: readonly PropertyKey[], bounds: JsonBounds): ToolCall[] {
  const calls = validate(messageListSchema.nullish(), value, path) ?? [];
  checkCount(calls, MESSAGE_TOOL_CALLS_MAX, path);
  return calls.map((one, index) => {
    const type: unknown = (one as { type?: unknown } | null)?.type;
    if (typeof type === "string" && type !== "function") throw unsupportedParameter(dotted([...path, index, "type"]));
    const call = validate(callSchema, one, [...path, index]);
    bounds.check(jsonOf(call.function.arguments), [...path, index, "function", "arguments"]);
    return { id: call.id, ...callOf(call.function) };
  });
}

function callOf(made: z.infer<typeof madeCallSchema>): Omit<ToolCall, "id"> {
  return { name: made.name, arguments: made.arguments || "{}" };
}

/** Arguments that are no JSON are only text. */
function jsonOf(json: string | null | undefined): unknown {
  try {
    return JSON.parse(json ?? "");
  } catch {
    return null;
  }
}

/** Calls and results of the older form know each other by the function's name. */
function functionCallId(functionName: string): string {
  return `call_${functionName}`;
}

function named(given: string | null | undefined): { name?: string } {
  return given == null ? {} : { name: given };
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
