/**
 * What goes over the WebSocket of a session: JSON texts, one a frame, in both directions.
 *
 * Down: `session` (its state, once, when the socket opens), `turn` (the question that the events after it answer),
 * `event` (an event of the session's SSE stream, with the same id and the same JSON), and the replies that only the asker
 * gets: `stopped`, `idle`, `error`. A `turn` means: forget every message from its question's id on, add the question, and
 * the answer with the turn's number as its id.
 *
 * Up: `message`, `edit`, `regenerate`, `stop`, `resume`, `ping`. `ref` is the client's own name for a request; whatever
 * answers the request carries it.
 */
import * as z from "zod";
import { type ApiError, bodyTooLarge, invalidRequest } from "./errors.ts";
import { BODY_BYTES_MAX, REQUEST_ID_CHARS_MAX } from "./limits.ts";
import { errorBody } from "./openai/error-body.ts";
import { validate, validateObject } from "./openai/validate.ts";
import type { SessionInfo, SessionMessage } from "./session-info.ts";
import {
  decodeSessionMessage,
  decodeSessionTurn,
  type SessionTurnWireRequest,
  sessionBody,
  sessionMessageBody,
} from "./sessions.ts";
import { type EventPosition, parseEventId } from "./sse-ids.ts";

/** A peer that sends exactly this gets `SOCKET_PONG` without waking the session's object. */
export const SOCKET_PING = '{"type":"ping"}';
export const SOCKET_PONG = '{"type":"pong"}';

/** Close codes of ours (RFC 6455, section 7.4.2: 4000 to 4999 are the application's), and the two of its own that we use. */
export const SOCKET_CLOSE = {
  /** A binary frame. */
  unsupported: 1003,
  /** A frame over the limit of a request's body. */
  tooLarge: 1009,
  /** The session was deleted: it makes no sense to come back. */
  deleted: 4001,
  /** The peer reads too slowly: come back with the last event's id. */
  tooSlow: 4002,
} as const;

export type SocketQuestion =
  | { kind: "message"; content: string }
  | { kind: "edit"; messageId: number; content: string }
  | { kind: "regenerate" };

export type SocketRequest =
  | { type: "ask"; question: SocketQuestion; turn: SessionTurnWireRequest }
  | { type: "stop" }
  /** @param position null = the running turn from its beginning */
  | { type: "resume"; position: EventPosition | null }
  | { type: "ping" };

const TYPES = ["message", "edit", "regenerate", "stop", "resume", "ping"] as const;

/** Of each message from a client, for documentation; the rest of its fields are those of the route of the same name. */
export const socketEnvelopeSchema = z.object({
  type: z.enum(TYPES),
  ref: z.string().min(1).max(REQUEST_ID_CHARS_MAX).nullish(),
});

const editSchema = z.object({ message_id: z.int().min(1) });
const resumeSchema = z.object({ last_event_id: z.string().nullish() });

/** @throws ApiError 400 for what is no JSON object, 413 for one over the limit */
export function parseSocketMessage(text: string): Record<string, unknown> {
  // A UTF-16 unit is one to three bytes of UTF-8.
  const numBytes = text.length * 3 > BODY_BYTES_MAX ? new TextEncoder().encode(text).length : 0;
  if (numBytes > BODY_BYTES_MAX) throw bodyTooLarge(numBytes, BODY_BYTES_MAX);
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    throw invalidRequest("The message is not valid JSON. Send one JSON object in each text frame.");
  }
  return validateObject(message);
}

/** The client's name for a request, also of one that is refused for something else; null where it has none. */
export function socketRefOf({ ref }: Record<string, unknown>): string | null {
  return typeof ref === "string" && ref !== "" && ref.length <= REQUEST_ID_CHARS_MAX ? ref : null;
}

/** @throws ApiError 400 for an unknown type and for whatever the route of the same name refuses */
export function decodeSocketMessage(message: Record<string, unknown>, requestId: string): SocketRequest {
  const { type } = validate(socketEnvelopeSchema, message);
  // Events always come as a stream here.
  const body = { ...message, stream: true };
  switch (type) {
    case "message": {
      const { content, ...turn } = decodeSessionMessage(body, requestId);
      return { type: "ask", question: { kind: "message", content }, turn };
    }
    case "edit": {
      const { message_id: messageId } = validate(editSchema, message);
      const { content, ...turn } = decodeSessionMessage(body, requestId);
      return { type: "ask", question: { kind: "edit", messageId, content }, turn };
    }
    case "regenerate":
      return { type: "ask", question: { kind: "regenerate" }, turn: decodeSessionTurn(body, requestId) };
    case "resume":
      return { type: "resume", position: decodeLastEventId(validate(resumeSchema, message).last_event_id ?? "") };
    default:
      return { type };
  }
}

/** @param text "" = none; @throws ApiError 400 for what is no id of an event */
export function decodeLastEventId(text: string): EventPosition | null {
  if (text === "") return null;
  const position = parseEventId(text);
  if (position !== null) return position;
  throw invalidRequest(
    `'last_event_id' must be the id of an event of this session, but is ${JSON.stringify(text.slice(0, 64))}.`,
    "last_event_id",
  );
}

export function sessionFrame(session: SessionInfo): string {
  return JSON.stringify({ type: "session", session: sessionBody(session) });
}

export interface TurnAnnouncement {
  /** Id of the answer's message. */
  turn: number;
  question: SessionMessage;
  numTruncated: number;
}

/** @param ref of the request that began it, for the one who asked */
export function turnFrame({ turn, question, numTruncated }: TurnAnnouncement, ref: string | null): string {
  const message = sessionMessageBody(question);
  return JSON.stringify({ type: "turn", turn, message, truncated_messages: numTruncated, ...refField(ref) });
}

/** The events in a piece of the session's SSE stream, each as a frame. Its JSON is taken over as text, never parsed. */
export function eventFrames(sse: string): string[] {
  // Not by lines of a regular expression: U+2028 ends those, and may stand in JSON.
  const events = sse.matchAll(/id: (\S+)\ndata: ([^\n]*)\n/g);
  return Array.from(events, ([, id, data]) => {
    return `{"type":"event","id":"${id}","data":${data === "[DONE]" ? '"[DONE]"' : data}}`;
  });
}

export function stoppedFrame(stopped: boolean, ref: string | null): string {
  return JSON.stringify({ type: "stopped", stopped, ...refField(ref) });
}

/** Nothing of the turn that was asked for is to come. */
export function idleFrame(ref: string | null): string {
  return JSON.stringify({ type: "idle", ...refField(ref) });
}

export function errorFrame(error: ApiError, ref: string | null): string {
  const retry = error.retryAfterS === null ? {} : { retry_after_ms: Math.ceil(error.retryAfterS * 1000) };
  return JSON.stringify({ type: "error", status: error.status, ...errorBody(error), ...retry, ...refField(ref) });
}

function refField(ref: string | null): { ref?: string } {
  return ref === null ? {} : { ref };
}
