/**
 * A conversation on its way into a template. All that a client wrote in it, messages, calls, results, tools and arguments
 * of the template, goes through `mapChat`, since a template may write any of it and any of it could spell a control token.
 */
import type { ChatMessage, Tool } from "../protocol/generate.ts";

export interface ParsedCall {
  id: string;
  name: string;
  /** The JSON value; text where it is none. */
  arguments: unknown;
}

export interface ParsedMessage extends Omit<ChatMessage, "role" | "toolCalls"> {
  role: string;
  toolCalls: ParsedCall[];
}

export interface ChatExtras {
  tools?: readonly Tool[] | undefined;
  /** Further variables of the template. */
  templateArguments?: Readonly<Record<string, unknown>> | undefined;
}

export interface Chat {
  messages: ParsedMessage[];
  tools: Tool[];
  templateArguments: Record<string, unknown>;
}

export type Message = Omit<ChatMessage, "role"> & { role: string };

/** Arguments are parsed here, before anything is marked: JSON has many ways to spell a character. */
export function parseChat(messages: readonly Message[], { tools = [], templateArguments = {} }: ChatExtras): Chat {
  return {
    messages: messages.map(({ toolCalls = [], ...message }) => ({
      ...message,
      toolCalls: toolCalls.map((call) => ({ ...call, arguments: parsed(call.arguments) })),
    })),
    tools: [...tools],
    templateArguments: { ...templateArguments },
  };
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return json;
  }
}

/** Every text that a client wrote. */
export function textsOf(chat: Chat): string[] {
  const texts: string[] = [];
  mapChat(chat, (text) => {
    texts.push(text);
    return text;
  });
  return texts;
}

/** Roles are the server's words. */
export function mapChat({ messages, tools, templateArguments }: Chat, map: (text: string) => string): Chat {
  return {
    messages: messages.map(({ role, ...written }) => ({ role, ...mapWritten(written, map) })),
    tools: tools.map(({ name, description, parameters, strict }) => ({
      name: map(name),
      description: map(description),
      parameters: mapTexts(parameters, map),
      strict,
    })),
    templateArguments: mapTexts(templateArguments, map),
  };
}

function mapWritten(message: Omit<ParsedMessage, "role">, map: (text: string) => string): Omit<ParsedMessage, "role"> {
  const { content, toolCalls, ...others } = message;
  const mapped = Object.entries(others).flatMap(([field, text]) => (text === undefined ? [] : [[field, map(text)]]));
  return {
    content: map(content),
    toolCalls: toolCalls.map(({ id, name, arguments: value }) => ({
      id: map(id),
      name: map(name),
      arguments: mapTexts(value, map),
    })),
    ...Object.fromEntries(mapped),
  };
}

/** The same JSON value with other texts in it, keys included. Its depth is bounded where requests are decoded. */
function mapTexts<T>(value: T, map: (text: string) => string): T {
  return mappedValue(value, map) as T;
}

function mappedValue(value: unknown, map: (text: string) => string): unknown {
  if (typeof value === "string") return map(value);
  if (Array.isArray(value)) return value.map((one) => mappedValue(one, map));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [map(key), mappedValue(one, map)]));
}
