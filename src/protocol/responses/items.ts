/**
 * What a response answers: a list of items, which stand for chat messages. A call that a model made is an item of its own
 * there and part of an assistant's message here; what a model thought is passed over, as its template would do.
 */
import * as z from "zod";
import { invalidRequest, unsupportedContent, unsupportedParameter } from "../errors.ts";
import type { ChatMessage, ChatRole, ToolCall } from "../generate.ts";
import { lazily } from "../lazily.ts";
import {
  CONTENT_PARTS_MAX,
  IDENTIFIER_CHARS_MAX,
  MESSAGE_TOOL_CALLS_MAX,
  MESSAGES_MAX,
  RESPONSE_ITEM_ID_CHARS_MAX,
  TEXT_CHARS_MAX,
} from "../limits.ts";
import type { JsonBounds } from "../openai/json-bounds.ts";
import { checkCount, dotted, quote, validate } from "../openai/validate.ts";
import type { OutputItem } from "./response-body.ts";

export type InputItem =
  | { type: "message"; role: Exclude<ChatRole, "tool">; content: string }
  | { type: "function_call"; call_id: string; name: string; arguments: string }
  | { type: "function_call_output"; call_id: string; output: string };

/** An item of an earlier response that the server has. */
export interface ItemReference {
  type: "item_reference";
  id: string;
}

type Path = readonly PropertyKey[];

const schemas = lazily(() => {
  const text = z.string().max(TEXT_CHARS_MAX);
  const identifier = z.string().min(1).max(IDENTIFIER_CHARS_MAX);
  const content = z.union([text, z.array(z.looseObject({})).max(CONTENT_PARTS_MAX)]);
  return {
    text,
    any: z.looseObject({ type: z.string().nullish() }),
    part: z.object({ type: z.enum(["input_text", "output_text", "text", "refusal"]) }),
    message: z.object({ role: z.enum(["system", "developer", "user", "assistant"]), content }),
    call: z.object({ call_id: identifier, name: identifier, arguments: text }),
    result: z.object({ call_id: identifier, output: content }),
    reference: z.object({ id: z.string().max(RESPONSE_ITEM_ID_CHARS_MAX) }),
  };
});

type Content = string | Record<string, unknown>[];

/** For documentation. */
export const inputItemSchema = lazily(() => {
  const { message, call, result, reference } = schemas();
  return z.union([message, call, result, reference]);
});

/** One item after the other, so that the first fault ends the work. */
export function decodeInput(value: unknown, bounds: JsonBounds): (InputItem | ItemReference)[] {
  const path = ["input"];
  if (typeof value === "string")
    return [{ type: "message", role: "user", content: validate(schemas().text, value, path) }];
  const param = dotted(path);
  if (!Array.isArray(value)) {
    const but = value === undefined ? "" : `, but is ${quote(value)}`;
    throw invalidRequest(`'${param}' must be a text or a list of items${but}.`, param);
  }
  if (value.length === 0) throw invalidRequest(`'${param}' must have at least 1 entry, but has 0.`, param);
  checkCount(value, MESSAGES_MAX, path);
  return value.flatMap((item, index) => decodeItem(item, [...path, index], bounds));
}

function decodeItem(value: unknown, path: Path, bounds: JsonBounds): (InputItem | ItemReference)[] {
  const item = validate(schemas().any, value, path);
  switch (item.type ?? ("role" in item ? "message" : "item_reference")) {
    case "message": {
      checkCount(item.content, CONTENT_PARTS_MAX, [...path, "content"]);
      const { role, content } = validate(schemas().message, item, path);
      const chatRole = role === "developer" ? "system" : role;
      return [{ type: "message", role: chatRole, content: joined(content, [...path, "content"]) }];
    }
    case "function_call": {
      const call = validate(schemas().call, item, path);
      bounds.check(jsonOf(call.arguments), [...path, "arguments"]);
      return [{ type: "function_call", ...call, arguments: call.arguments || "{}" }];
    }
    case "function_call_output": {
      checkCount(item.output, CONTENT_PARTS_MAX, [...path, "output"]);
      const { call_id, output } = validate(schemas().result, item, path);
      return [{ type: "function_call_output", call_id, output: joined(output, [...path, "output"]) }];
    }
    case "reasoning":
      return [];
    case "item_reference":
      return [{ type: "item_reference", ...validate(schemas().reference, item, path) }];
    default:
      throw unsupportedParameter(dotted([...path, "type"]), ["message", "function_call", "function_call_output"]);
  }
}

/** Arguments that are no JSON are only text. */
function jsonOf(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return null;
  }
}

/** Text parts, joined by a line break as those of chat messages are. */
function joined(content: Content, path: Path): string {
  if (typeof content === "string") return content;
  return content.map((part, index) => partText(part, [...path, index])).join("\n");
}

function partText(part: Record<string, unknown>, path: Path): string {
  const kind = part.type;
  if (typeof kind === "string" && !schemas().part.safeParse(part).success) {
    throw unsupportedContent(dotted(path), kind.slice(0, IDENTIFIER_CHARS_MAX), "input_text");
  }
  validate(schemas().part, part, path);
  const field = kind === "refusal" ? "refusal" : "text";
  return validate(schemas().text, part[field], [...path, field]);
}

/** What a response said, as the next one is asked with it. */
export function outputAsInput(output: readonly OutputItem[]): InputItem[] {
  return output.flatMap((item): InputItem[] => {
    if (item.type === "message") {
      return [{ type: "message", role: "assistant", content: item.content.map((part) => part.text).join("\n") }];
    }
    if (item.type === "reasoning") return [];
    return [{ type: "function_call", call_id: item.call_id, name: item.name, arguments: item.arguments }];
  });
}

/**
 * The conversation as a model reads it.
 *
 * @throws ApiError 400 for a result whose call is not there, or too many messages
 */
export function messagesOf(instructions: string | null, items: readonly InputItem[]): ChatMessage[] {
  const messages: ChatMessage[] = instructions === null ? [] : [{ role: "system", content: instructions }];
  const calls = new Set<string>();
  for (const item of items) {
    if (item.type === "message") {
      messages.push({ role: item.role, content: item.content });
    } else if (item.type === "function_call") {
      calls.add(item.call_id);
      const call = { id: item.call_id, name: item.name, arguments: item.arguments };
      const last = messages.at(-1);
      // Calls made at once, and what was said before them, are one message.
      if (last?.role === "assistant") addCall(last, call);
      else messages.push({ role: "assistant", content: "", toolCalls: [call] });
    } else {
      if (!calls.has(item.call_id)) throw noSuchCall(item.call_id);
      messages.push({ role: "tool", content: item.output, toolCallId: item.call_id });
    }
  }
  checkCount(messages, MESSAGES_MAX, ["input"]);
  return messages;
}

function addCall(message: ChatMessage, call: ToolCall): void {
  message.toolCalls ??= [];
  message.toolCalls.push(call);
  checkCount(message.toolCalls, MESSAGE_TOOL_CALLS_MAX, ["input"]);
}

function noSuchCall(callId: string) {
  return invalidRequest(
    `'input' has a function_call_output for ${quote(callId)}, but no function_call of that call_id before it.`,
    "input",
  );
}
