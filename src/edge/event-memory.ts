/**
 * What the events of answers hold of an isolate's heap. A step moves everybody, so the events of a reader that takes none
 * pile up while others read, and a session keeps those of its running answer for readers to come. All of them together
 * may hold `EVENT_BYTES_MAX`; beyond that whoever holds the most ends: a stateless stream with an error, since its reader
 * is the cause, a session's answer with what it has, as one that came to its `max_tokens`.
 */
import { type ApiError, readerTooSlow } from "../protocol/errors.ts";

/**
 * Of `JS_RESERVE_BYTES`. About 23,000 tokens: more than eight answers of 2,048 tokens at once. With twenty alternatives for
 * each token it is 1,300.
 */
export const EVENT_BYTES_MAX = 6_000_000;

interface Holder {
  readonly heldBytes: number;
  readonly keepsEvents: boolean;
  endEarly(): void;
  drop(error: ApiError): void;
}

/** To be called after each step. */
export function boundEvents(holders: Iterable<Holder>): void {
  let totalBytes = 0;
  let largest: Holder | null = null;
  for (const holder of holders) {
    totalBytes += holder.heldBytes;
    if (largest === null || holder.heldBytes > largest.heldBytes) largest = holder;
  }
  if (largest === null || totalBytes <= EVENT_BYTES_MAX) return;
  if (largest.keepsEvents) largest.endEarly();
  else largest.drop(readerTooSlow(largest.heldBytes, EVENT_BYTES_MAX, "all answers together"));
}
