/**
 * What a wire format is to the routes: a pure encoder of one answer. Implementations know no transport; whoever sends
 * the text decides about bytes, pings and errors of the connection.
 */
import type { ApiError } from "./errors.ts";
import type { GenerateEvent } from "./generate.ts";

export interface StreamEncoder {
  readonly headers: Readonly<Record<string, string>>;
  /** Sent while there is nothing to say; null = the format has no such thing. */
  readonly keepAlive: string | null;
  /** Text of one event, maybe "". The text of `done` and `error` ends the stream. Throws where the order is broken. */
  encode(event: GenerateEvent): string;
  /** The events have ended. Throws where `done` or `error` is missing. */
  end(): void;
  /** Text that tells the client of a fault and ends the stream. */
  fail(error: ApiError): string;
}
