/** What a turn of a session starts from: the question in words, its place in the history, its seed and its cache salt. */
import type { SessionMessage, SessionQuestion } from "../api/model-service.ts";
import { type ApiError, invalidRequest, notFound } from "../protocol/errors.ts";
import { ROW_BYTES_MAX } from "./session-store.ts";

export interface PlacedQuestion {
  /** What was said before it. */
  history: SessionMessage[];
  content: string;
  /** Id of the message whose place it takes, with all that came after; null = it is a new one. */
  replaces: number | null;
}

/** @throws ApiError 404 or 400 where there is no such message, or not a user's */
export function placeQuestion(question: SessionQuestion, messages: SessionMessage[]): PlacedQuestion {
  if (question.kind === "message") return { history: messages, content: question.content, replaces: null };
  const asked = question.kind === "edit" ? editedMessage(question.messageId, messages) : lastQuestion(messages);
  const content = question.kind === "edit" ? question.content : asked.content;
  return { history: messages.filter(({ id }) => id < asked.id), content, replaces: asked.id };
}

function editedMessage(messageId: number, messages: SessionMessage[]): SessionMessage {
  const message = messages.find(({ id }) => id === messageId);
  if (message === undefined) throw noSuchMessage(messageId);
  if (message.role === "user") return message;
  throw invalidRequest(
    `Message ${messageId} is of role '${message.role}', and only a user's can be edited.`,
    "message_id",
  );
}

function lastQuestion(messages: SessionMessage[]): SessionMessage {
  const message = messages.findLast(({ role }) => role === "user");
  if (message !== undefined) return message;
  throw invalidRequest("The session has no question yet that could be answered again. Send a message.");
}

export function noSuchMessage(id: number): ApiError {
  return notFound(`The message ${id}`);
}

export function assertFitsRow(text: string, param: string): void {
  const numBytes = new TextEncoder().encode(text).length;
  if (numBytes <= ROW_BYTES_MAX) return;
  throw invalidRequest(
    `The message is ${numBytes} bytes; a session keeps at most ${ROW_BYTES_MAX}. Shorten it.`,
    param,
  );
}

/**
 * Sessions of one owner share cached prefixes (the same system prompt); nobody else's do, so that no tenant can learn
 * from the time to the first token what another one has asked. A fork is a session like any other: under the same owner
 * it finds the blocks of what it was forked from, and without one it restores its own copy of them.
 */
export function cacheSalt(id: string, owner: string | null): string {
  return owner === null ? `session:${id}` : `owner:${owner}`;
}
