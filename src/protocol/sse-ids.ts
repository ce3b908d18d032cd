/**
 * Ids for the server-sent events of a session's answer, so that a stream which broke can be taken up where it broke
 * (WHATWG HTML, section 9.2, `Last-Event-ID`). An id is "TURN-N": the turn's number in its session, which is
 * the message id of its answer, and the event's in its stream, from 1.
 *
 * A resumed stream is written from its first event and what the client has is left out. That costs a little encoding,
 * keeps no encoder's state anywhere, and makes the rest the same bytes by construction.
 */
import type { StreamEncoder } from "./answer-encoder.ts";
import type { ApiError } from "./errors.ts";
import type { GenerateEvent } from "./generate.ts";

/** Ends every event; no field of ours holds a raw line break. */
const EVENT_END = "\n\n";

export interface EventPosition {
  turn: number;
  /** Number of events up to here, this one included. */
  numEvents: number;
}

export function formatEventId({ turn, numEvents }: EventPosition): string {
  return `${turn}-${numEvents}`;
}

/** null for what is none of ours. */
export function parseEventId(text: string): EventPosition | null {
  const match = /^([1-9]\d{0,14})-([1-9]\d{0,14})$/.exec(text);
  return match === null ? null : { turn: Number(match[1]), numEvents: Number(match[2]) };
}

/** Gives each event of another encoder its id, and leaves out those that the client has. */
export class IdentifiedStream implements StreamEncoder {
  readonly #encoder: StreamEncoder;
  readonly #turn: number;
  readonly #numSeen: number;
  #numEvents = 0;
  /** The end of the last choice, left out: a client that was promised more than there is must still see an end. */
  #leftOutEnd = "";

  /** @param numSeen events that the client has */
  constructor(encoder: StreamEncoder, turn: number, numSeen: number) {
    this.#encoder = encoder;
    this.#turn = turn;
    this.#numSeen = numSeen;
  }

  get headers(): Readonly<Record<string, string>> {
    return this.#encoder.headers;
  }

  get keepAlive(): string | null {
    return this.#encoder.keepAlive;
  }

  encode(event: GenerateEvent): string {
    const events = this.#encoder
      .encode(event)
      .split(EVENT_END)
      .slice(0, -1)
      .map((text) => this.#identified(text));
    const isLast = event.type === "done" || event.type === "error";
    // The answer ended before what the client has of it, as one does that was stopped while it was made good.
    if (isLast && this.#numEvents < this.#numSeen) return this.#leftOutEnd + events.map(({ text }) => text).join("");
    if (event.type === "finish") this.#leftOutEnd = events.map(({ text }) => text).join("");
    return events.map(({ isNew, text }) => (isNew ? text : "")).join("");
  }

  end(): void {
    this.#encoder.end();
  }

  /** Without an id: it is no event of the answer, and a client that resumes must not lose one for it. */
  fail(error: ApiError): string {
    return this.#encoder.fail(error);
  }

  #identified(text: string): { isNew: boolean; text: string } {
    const id = formatEventId({ turn: this.#turn, numEvents: ++this.#numEvents });
    return { isNew: this.#numEvents > this.#numSeen, text: `id: ${id}\n${text}${EVENT_END}` };
  }
}
