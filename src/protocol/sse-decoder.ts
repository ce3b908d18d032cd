/**
 * Server-sent events as other servers send them (WHATWG HTML, section 9.2): bytes cut anywhere, lines ended by LF, CRLF
 * or CR, comments, several `data:` lines for one event. Bytes that are no UTF-8 become U+FFFD, as the standard says.
 */

/** One event may hold twenty alternatives for some dozens of tokens, and never a megabyte: that is no stream of events. */
export const SSE_EVENT_CHARS_MAX = 1_000_000;

export interface SseEvent {
  /** Value of the `event:` line; null = there was none. */
  name: string | null;
  data: string;
}

export class SseDecoder {
  readonly #decoder = new TextDecoder();
  /** Of the line that has not ended yet. */
  #rest = "";
  /** The last piece ended with CR, whose LF may begin the next one. */
  #mayBeginWithLf = false;
  #name: string | null = null;
  #data: string[] = [];
  #numChars = 0;

  /**
   * Takes the next bytes and gives the events that they complete.
   *
   * @throws Error where an event has more than `SSE_EVENT_CHARS_MAX` characters
   */
  push(bytes: Uint8Array): SseEvent[] {
    return this.#take(this.#decoder.decode(bytes, { stream: true }));
  }

  /** The bytes have ended: gives an event that lacks its blank line. Some servers close right behind their last line. */
  end(): SseEvent[] {
    return this.#take(`${this.#decoder.decode()}\n\n`);
  }

  #take(piece: string): SseEvent[] {
    if (piece === "") return [];
    const begins = this.#mayBeginWithLf && piece.startsWith("\n") ? 1 : 0;
    this.#mayBeginWithLf = piece.endsWith("\r");
    const lines = (this.#rest + piece.slice(begins)).split(/\r\n|\n|\r/);
    this.#rest = lines.pop()!;
    const events: SseEvent[] = [];
    for (const line of lines) this.#line(line, events);
    this.#checkSize(this.#numChars + this.#rest.length);
    return events;
  }

  #line(line: string, events: SseEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) events.push({ name: this.#name, data: this.#data.join("\n") });
      this.#name = null;
      this.#data = [];
      this.#numChars = 0;
      return;
    }
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (field === "event") this.#name = value;
    if (field !== "data") return;
    this.#data.push(value);
    this.#numChars += value.length;
    this.#checkSize(this.#numChars);
  }

  #checkSize(numChars: number): void {
    if (numChars <= SSE_EVENT_CHARS_MAX) return;
    throw new Error(`An event of the stream has more than ${SSE_EVENT_CHARS_MAX} characters.`);
  }
}
