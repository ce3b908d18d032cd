/**
 * Chat messages in Ollama's shape: `content` is a text, and pictures would lie beside it. Arguments of calls are objects.
 * Calls need no id there: a result names its tool at most, so it belongs to the first call of that name that waits for
 * one, and ids are made up to say so.
 */
import * as z from "zod";
import { unsupportedContent } from "../errors.ts";
import type { ChatMessage, ToolCall } from "../generate.ts";
import { listOf, objectOf } from "../json-values.ts";
import { lazily } from "../lazily.ts";
import { IDENTIFIER_CHARS_MAX, MESSAGE_TOOL_CALLS_MAX, MESSAGES_MAX, TEXT_CHARS_MAX } from "../limits.ts";
import type { JsonBounds } from "../openai/json-bounds.ts";
import { checkCount, dotted, validate } from "../openai/validate.ts";

export const messageSchema = lazily(() => {
  const text = z.string().max(TEXT_CHARS_MAX).nullish();
  const identifier = z.string().max(IDENTIFIER_CHARS_MAX).nullish();
  const name = z.string().min(1).max(IDENTIFIER_CHARS_MAX);
  const values = z.record(z.string(), z.unknown()).nullish();
  const call = z.object({ id: identifier, function: z.object({ name, arguments: values }) });
  return z.object({
    role: z.enum(["system", "user", "assistant", "tool"]),
    content: text,
    /** What an assistant thought. */
    thinking: text,
    tool_calls: z.array(call).max(MESSAGE_TOOL_CALLS_MAX).nullish(),
    /** Of a tool's message, as are the names that follow. */
    tool_call_id: identifier,
    tool_name: identifier,
    name: identifier,
  });
});

const listSchema = lazily(() => z.array(z.unknown()));

/** One message after the other, so that the first fault ends the work. */
export function decodeMessages(value: unknown, bounds: JsonBounds): ChatMessage[] {
  if (value == null) return [];
  const messages = validate(listSchema(), value, ["messages"]);
  checkCount(messages, MESSAGES_MAX, ["messages"]);
  let unanswered: ToolCall[] = [];
  return messages.map((raw, index) => {
    const { message, toolName } = decodeMessage(raw, index, bounds);
    if (message.role === "assistant") unanswered = [...(message.toolCalls ?? [])];
    else if (message.role === "tool") answerCall(message, toolName, unanswered);
    return message;
  });
}

function decodeMessage(
  value: unknown,
  index: number,
  bounds: JsonBounds,
): { message: ChatMessage; toolName: string | null } {
  const path = ["messages", index];
  const raw = objectOf(value);
  if (raw !== null) {
    refuseImages(raw.images, dotted([...path, "images"]));
    checkCount(raw.tool_calls, MESSAGE_TOOL_CALLS_MAX, [...path, "tool_calls"]);
    for (const [i, one] of listOf(raw.tool_calls).entries()) {
      bounds.check(objectOf(objectOf(one)?.function)?.arguments, [...path, "tool_calls", i, "function", "arguments"]);
    }
  }
  const { role, content, thinking, tool_calls, tool_call_id, ...names } = validate(messageSchema(), value, path);
  const message: ChatMessage = { role, content: content ?? "" };
  if (role === "assistant" && thinking != null && thinking !== "") message.reasoning = thinking;
  if (role === "assistant" && tool_calls != null && tool_calls.length > 0) {
    message.toolCalls = tool_calls.map(({ id, function: { name, arguments: values } }, i) => ({
      id: id ?? `call_${index}_${i}`,
      name,
      arguments: JSON.stringify(values ?? {}),
    }));
  }
  if (role === "tool" && tool_call_id != null) message.toolCallId = tool_call_id;
  return { message, toolName: names.tool_name ?? names.name ?? null };
}

/** @param unanswered calls of the assistant's last message; loses the one that this is the result of */
function answerCall(message: ChatMessage, toolName: string | null, unanswered: ToolCall[]): void {
  const isIts = ({ id, name }: ToolCall) =>
    message.toolCallId === undefined ? toolName === null || name === toolName : id === message.toolCallId;
  const at = unanswered.findIndex(isIts);
  const [call] = at < 0 ? [] : unanswered.splice(at, 1);
  message.toolCallId ??= call?.id ?? "call";
  const name = toolName ?? call?.name;
  if (name !== undefined) message.name = name;
}

export function refuseImages(images: unknown, param: string): void {
  if (images == null || (Array.isArray(images) && images.length === 0)) return;
  throw unsupportedContent(param, "image");
}
