/**
 * A step moves everybody, so the events of a reader that takes none pile up while others read. All of an isolate together
 * may hold `UNREAD_BYTES_MAX` of them; beyond that whoever holds the most is told and dropped. A session's answer is never
 * among them: its turn takes every event at once, and its readers read the turn's log.
 */
import { ApiError } from "../protocol/errors.ts";

/**
 * Of `JS_RESERVE_BYTES`. About 15,000 tokens, so eight stalled streams of 2,000 tokens never come near; with twenty
 * alternatives for each token it is a thousand.
 */
export const UNREAD_BYTES_MAX = 4_000_000;
const RETRY_S = 1;

interface Reader {
  readonly unreadBytes: number;
  drop(error: ApiError): void;
}

/** To be called after each step. */
export function dropSlowest(readers: Iterable<Reader>): void {
  let totalBytes = 0;
  let slowest: Reader | null = null;
  for (const reader of readers) {
    totalBytes += reader.unreadBytes;
    if (slowest === null || reader.unreadBytes > slowest.unreadBytes) slowest = reader;
  }
  if (slowest !== null && totalBytes > UNREAD_BYTES_MAX) slowest.drop(readerTooSlow(slowest.unreadBytes));
}

function readerTooSlow(unreadBytes: number): ApiError {
  return new ApiError({
    status: 429,
    type: "server_busy",
    code: "reader_too_slow",
    param: null,
    message:
      `${unreadBytes} bytes of this answer wait to be read, and all streams together may hold ${UNREAD_BYTES_MAX}. Read ` +
      "faster, or ask for fewer logprobs.",
    retryAfterS: RETRY_S,
  });
}
