/**
 * Bodies of the session routes. A session is a conversation that the server keeps: messages are sent one at a time, and
 * answers come in the shapes of chat completions. Times are Unix seconds, as everywhere in OpenAI's API.
 */

import * as z from "zod";
import type { GenerateRequest } from "./generate.ts";
import { lazily } from "./lazily.ts";
import { IDENTIFIER_CHARS_MAX, MODEL_NAME_CHARS_MAX, TEXT_CHARS_MAX, TITLE_CHARS_MAX } from "./limits.ts";
import { chatLogprobsOf, chatLogprobsShape } from "./openai/chat-request.ts";
import { constraintShape, decodeConstraint } from "./openai/constraint-fields.ts";
import { answerStyleOf, checkFieldCounts, generationOf, generationShape } from "./openai/generation-fields.ts";
import { JsonBounds } from "./openai/json-bounds.ts";
import { contentSchema, decodeContent } from "./openai/messages.ts";
import { refuseUnsupported } from "./openai/unsupported.ts";
import { validate, validateObject } from "./openai/validate.ts";
import type { SessionInfo, SessionMessage, SessionSummary } from "./session-info.ts";
import type { AnswerStyle } from "./wire-request.ts";

export const sessionInitSchema = z.object({
  /** Absent = the first model of the list. */
  model: z.string().min(1).max(MODEL_NAME_CHARS_MAX).nullish(),
  system: z.string().max(TEXT_CHARS_MAX).nullish(),
  title: z.string().max(TITLE_CHARS_MAX).nullish(),
});

const messageFieldsSchema = z.object({ ...generationShape, ...chatLogprobsShape });

const turnFieldsSchema = messageFieldsSchema.extend({
  /** What to do while an answer is running: refuse with 409, or wait for its end. */
  if_busy: z.enum(["refuse", "queue"]).nullish(),
  /** What to do where the conversation does not fit the context: refuse with 400, or leave its oldest turns out. */
  truncation: z.enum(["disabled", "auto"]).nullish(),
});

/** Of a message that is sent or put in another's place, for documentation. */
export const sessionMessageSchema = lazily(() => sessionRegenerateSchema().extend({ content: contentSchema }));

/** Of the wish for another answer, for documentation. */
export const sessionRegenerateSchema = lazily(() => turnFieldsSchema.extend(constraintShape()));

export const sessionForkSchema = z.object({
  /** The last message of the fork; absent = all of them. */
  message_id: z.int().min(1).nullish(),
  title: z.string().max(TITLE_CHARS_MAX).nullish(),
});

export interface SessionInitRequest {
  model: string | null;
  system: string | null;
  title: string | null;
}

/** How a turn is to be made. The session knows the conversation and the model. */
export interface SessionTurnWireRequest {
  generate: Omit<GenerateRequest, "prompts" | "model" | "n" | "beams" | "echo">;
  style: AnswerStyle;
  waitsForTurn: boolean;
  truncates: boolean;
}

export interface SessionMessageWireRequest extends SessionTurnWireRequest {
  content: string;
}

export interface SessionForkRequest {
  messageId: number | null;
  title: string | null;
}

export function decodeSessionInit(body: unknown): SessionInitRequest {
  const { model, system, title } = validate(sessionInitSchema, body);
  return { model: model ?? null, system: system ?? null, title: title ?? null };
}

export function decodeSessionMessage(body: unknown, requestId: string): SessionMessageWireRequest {
  const turn = decodeSessionTurn(body, requestId);
  return { content: decodeContent((body as Record<string, unknown>).content, ["content"]), ...turn };
}

export function decodeSessionTurn(body: unknown, requestId: string): SessionTurnWireRequest {
  const raw = validateObject(body);
  refuseUnsupported(raw, "sessions");
  checkFieldCounts(raw);
  const fields = validate(turnFieldsSchema, raw);
  return {
    generate: {
      requestId,
      ...generationOf(fields, null),
      constraint: decodeConstraint(raw, new JsonBounds()),
      logprobs: chatLogprobsOf(fields),
    },
    style: answerStyleOf(fields),
    waitsForTurn: fields.if_busy === "queue",
    truncates: fields.truncation === "auto",
  };
}

export function decodeSessionFork(body: unknown): SessionForkRequest {
  const { message_id, title } = validate(sessionForkSchema, body);
  return { messageId: message_id ?? null, title: title ?? null };
}

/** Ids of messages are numbers from 1; null for anything else. */
export function parseMessageId(text: string): number | null {
  return /^[1-9]\d{0,14}$/.test(text) ? Number(text) : null;
}

/** Ids are capabilities of at least 120 random bits: 22 base58, 32 hex or a UUID's 36 characters, never a guessable one. */
const SESSION_ID = /^[0-9A-Za-z_-]{22,64}$/;

export function isSessionId(text: string): boolean {
  return SESSION_ID.test(text);
}

/** An owner's id is a secret of one browser or API user, and names the list of its sessions. */
const OWNER_ID = new RegExp(`^[0-9A-Za-z_-]{22,${IDENTIFIER_CHARS_MAX}}$`);

export function isOwnerId(text: string): boolean {
  return OWNER_ID.test(text);
}

export function sessionSummaryBody(session: SessionSummary) {
  return {
    id: session.id,
    object: "session" as const,
    title: session.title,
    model: session.model,
    created_at: unixSeconds(session.createdAtMs),
    updated_at: unixSeconds(session.updatedAtMs),
    num_messages: session.numMessages,
  };
}

export function sessionMessageBody({ id, role, content, createdAtMs, finishReason }: SessionMessage) {
  return { id, role, content, created_at: unixSeconds(createdAtMs), finish_reason: finishReason };
}

export function sessionBody(session: SessionInfo) {
  const messages = session.messages.map(sessionMessageBody);
  return { ...sessionSummaryBody(session), busy: session.busy, truncated_messages: session.numTruncated, messages };
}

export function sessionListBody(sessions: readonly SessionSummary[]) {
  return { object: "list" as const, data: sessions.map(sessionSummaryBody) };
}

export function sessionDeletedBody(id: string) {
  return { id, object: "session.deleted" as const, deleted: true };
}

function unixSeconds(ms: number): number {
  return Math.floor(ms / 1000);
}
