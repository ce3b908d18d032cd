/**
 * Server-sent events (WHATWG HTML, section 9.2) as LLM clients read them: one `data:` line and a blank line for each
 * event. Written by hand since a framework's error events break those clients.
 */

export const SSE_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "text/event-stream; charset=utf-8",
  "cache-control": "no-cache",
  // nginx and its kin would collect the stream otherwise.
  "x-accel-buffering": "no",
};

/** A comment: keeps a silent connection open, and every parser skips it. */
export const SSE_PING = ": ping\n\n";

/** OpenAI's mark for the end of a stream. */
export const SSE_DONE = "data: [DONE]\n\n";

/** JSON text holds no raw line break, so one `data:` line is always enough. */
export function sseData(value: object): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}
