/** What crosses the RPC border of a session's object, besides what the routes know. */
import type { SessionMessage } from "../api/model-service.ts";
import type { AnswerFrame } from "../protocol/openai/chunk-stream.ts";
import type { Transcript } from "../serving/language-model.ts";

export interface TurnBytes {
  bytes: ReadableStream<Uint8Array>;
  turn: number;
  frame: AnswerFrame;
  numTruncated: number;
  /** Model that answers in the place of the session's own; null = that one does. */
  fallbackModel: string | null;
  hasEnded: boolean;
  /** What is left of the key's limits; absent = it has none. */
  headers?: Record<string, string>;
}

/** History of a session, as another one takes it over. */
export interface SessionCopy {
  /** Name of that session's object. */
  from: string;
  model: string;
  title: string | null;
  messages: SessionMessage[];
  transcript: Transcript | null;
}
