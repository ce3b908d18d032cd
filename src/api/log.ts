/**
 * Structured log records. They never hold a key, a session's id or an owner's (who knows those may read the conversation):
 * routes are logged as patterns. Nor do they hold text of prompts or answers, but for prompts where the operator asks for
 * them.
 */
import type { GenerationSummary } from "./request-meter.ts";

/** With the numbers of its generation, where it began one. */
export interface RequestRecord extends Partial<GenerationSummary> {
  level: "info";
  event: "request";
  requestId: string;
  method: string;
  /** The route's pattern, "-" where none matched. */
  route: string;
  status: number;
  /** To the head of the response: a stream goes on afterwards, to `totalMs`. */
  durationMs: number;
  /** Public id of the API key. */
  keyId?: string;
  /** JSON of the prompts, where the operator wants them in the log. */
  prompt?: string;
}

export type LogRecord =
  | RequestRecord
  | { level: "error"; event: "internal_error"; requestId: string; route: string; cause: string }
  /** A server behind this one; `cause` has neither its address nor its key. */
  | { level: "error"; event: "origin_failed"; requestId: string; origin: string; cause: string };

export type Log = (record: LogRecord) => void;

/** One JSON line for each record, which is what log collectors read. */
export const consoleLog: Log = (record) => {
  const line = JSON.stringify(record);
  if (record.level === "error") console.error(line);
  else console.log(line);
};

/** An exception with its stack and the causes behind it. */
export function causeText(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const text = cause.stack ?? `${cause.name}: ${cause.message}`;
  return cause.cause === undefined ? text : `${text}\nCaused by: ${causeText(cause.cause)}`;
}
