/**
 * Incremental parser of server-sent events (WHATWG HTML, section 9.2.6 "Interpreting an event stream"). Input may be
 * cut anywhere, also between the CR and LF of one line end; the events are the same as for the uncut stream. An event
 * without its blank line at the end of the stream is incomplete and never comes out, as the standard says.
 */

export interface SseEvent {
  /** The `event:` field, "message" where the stream has none. */
  event: string;
  /** All `data:` lines of the event, joined by LF. */
  data: string;
  /** The last `id:` seen so far, "" before the first: what a reconnect sends as Last-Event-ID. */
  lastEventId: string;
}

export class SseParser {
  #rest = "";
  #data: string[] = [];
  #event = "";
  #lastEventId = "";
  #skipLineFeed = false;
  #atStart = true;

  /** Takes the next piece of text and gives the events that it completes. */
  push(text: string): SseEvent[] {
    const events: SseEvent[] = [];
    for (const line of this.#takeLines(text)) {
      if (line === "") this.#dispatch(events);
      else this.#readField(line);
    }
    return events;
  }

  #takeLines(text: string): string[] {
    let input = text;
    if (input !== "" && this.#skipLineFeed) {
      this.#skipLineFeed = false;
      if (input.startsWith("\n")) input = input.slice(1);
    }
    if (input !== "" && this.#atStart) {
      this.#atStart = false;
      if (input.startsWith("\uFEFF")) input = input.slice(1);
    }
    // A CR at the very end ends its line now; an LF that follows in the next piece belongs to it.
    this.#skipLineFeed ||= input.endsWith("\r");
    const lines = (this.#rest + input).split(/\r\n|\n|\r/);
    this.#rest = lines.pop()!;
    return lines;
  }

  #readField(line: string): void {
    const colon = line.indexOf(":");
    if (colon === 0) return; // A comment, such as the ping that keeps a quiet connection open.
    const name = colon < 0 ? line : line.slice(0, colon);
    const raw = colon < 0 ? "" : line.slice(colon + 1);
    const value = raw.startsWith(" ") ? raw.slice(1) : raw;
    if (name === "data") this.#data.push(value);
    else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#lastEventId = value;
  }

  #dispatch(events: SseEvent[]): void {
    if (this.#data.length > 0) {
      events.push({ event: this.#event || "message", data: this.#data.join("\n"), lastEventId: this.#lastEventId });
    }
    this.#data = [];
    this.#event = "";
  }
}

/** The events of a response body, until its end. Cancels the body when the reader stops early. */
export async function* readSse(body: ReadableStream<Uint8Array>): AsyncGenerator<SseEvent> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new SseParser();
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
