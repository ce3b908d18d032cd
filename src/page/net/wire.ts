/**
 * The JSON that the server speaks, decoded into the page's own words. Only the fields that the page uses are read, so
 * that a server which says more stays welcome. Pure: no fetch here.
 */
import type { TokenUsage } from "../chat/metrics.ts";
import { type LoadedSession, statusOf } from "../state/reducer.ts";
import type { Message, Model, SessionSummary } from "../state/state.ts";
import { failure, RequestError } from "./failure.ts";

export interface WireModel {
  id: string;
  description?: string | null;
  max_model_len?: number | null;
  owned_by?: string | null;
}

export interface WireSession {
  id: string;
  title: string | null;
  model: string;
  /** Unix seconds. */
  updated_at: number;
}

export interface WireMessage {
  id: number;
  role: "system" | "user" | "assistant";
  content: string;
  finish_reason: string | null;
}

export interface WireSessionDetail extends WireSession {
  messages: WireMessage[];
  busy: boolean;
}

interface WireUsage {
  prompt_tokens: number;
  completion_tokens: number;
  prompt_tokens_details?: { cached_tokens?: number | null } | null;
}

interface WireChunk {
  choices?: {
    delta?: { content?: string | null };
    finish_reason?: string | null;
    stop_reason?: string | number | null;
  }[];
  usage?: WireUsage | null;
  error?: { message?: string };
}

export function decodeModel(wire: WireModel): Model {
  const { id, description = null, max_model_len: contextLength = null, owned_by: owner = null } = wire;
  return { id, description, contextLength, owner };
}

export function decodeSummary(wire: WireSession): SessionSummary {
  return { id: wire.id, title: wire.title ?? "", model: wire.model, updatedAtMs: wire.updated_at * 1000 };
}

export function decodeSession(wire: WireSessionDetail): LoadedSession {
  const { id, model } = wire;
  const messages = wire.messages.filter((message) => message.role !== "system").map(decodeMessage);
  const lastMessageId = wire.messages.at(-1)?.id ?? 0;
  return { id, model, title: wire.title ?? "", isBusy: wire.busy, lastMessageId, messages };
}

function decodeMessage(wire: WireMessage): Pick<Message, "role" | "text" | "status"> {
  if (wire.role !== "assistant") return { role: "user", text: wire.content, status: "done" };
  return { role: "assistant", text: wire.content, status: statusOf(wire.finish_reason) };
}

/** The turn that an event belongs to, which is the message id of its answer; 0 where the event has no id. */
export function turnOfEvent(eventId: string | null): number {
  return Number.parseInt(eventId ?? "0", 10) || 0;
}

export type AnswerEvent =
  | { type: "text"; text: string }
  | { type: "end"; reason: string }
  | { type: "usage"; usage: TokenUsage };

/**
 * The events of one `chat.completion.chunk`; some servers put text, finish and usage into one.
 *
 * @throws RequestError where the server reports an error in mid-stream
 */
export function decodeChunk(data: string): AnswerEvent[] {
  const chunk = JSON.parse(data) as WireChunk;
  if (chunk.error !== undefined) {
    throw new RequestError(failure("interrupted", chunk.error.message ?? "The server gave no reason."));
  }
  const events: AnswerEvent[] = [];
  const choice = chunk.choices?.[0];
  if (choice?.delta?.content) events.push({ type: "text", text: choice.delta.content });
  // OpenAI has no finish_reason for an answer that was stopped from outside; the server says so in stop_reason.
  const reason = choice?.stop_reason === "abort" ? "abort" : choice?.finish_reason;
  if (reason) events.push({ type: "end", reason });
  if (chunk.usage) events.push({ type: "usage", usage: decodeUsage(chunk.usage) });
  return events;
}

function decodeUsage(wire: WireUsage): TokenUsage {
  return {
    promptTokens: wire.prompt_tokens,
    completionTokens: wire.completion_tokens,
    cachedTokens: wire.prompt_tokens_details?.cached_tokens ?? 0,
  };
}

/** Code and words of an error body; nulls where it is none of ours (a proxy's HTML page). */
export function decodeErrorBody(body: string): { code: string | null; message: string | null } {
  try {
    const { error } = JSON.parse(body) as { error?: { code?: string | null; message?: string } };
    return { code: error?.code ?? null, message: error?.message ?? null };
  } catch {
    return { code: null, message: null };
  }
}
