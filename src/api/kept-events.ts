/**
 * The events of a response that is to be kept: it is stored before its reader sees the end, so that whoever has read the
 * end can go on from it. Of an answer that failed, or that nobody read to its end, nothing is kept.
 */
import type { GenerateEvent } from "../protocol/generate.ts";
import { ResponseOutput } from "../protocol/responses/output.ts";
import type { ResponseBody, ResponseFrame } from "../protocol/responses/response-body.ts";
import type { EventStream } from "./model-service.ts";

export class KeptEvents implements EventStream {
  readonly #events: EventStream;
  readonly #output: ResponseOutput;
  readonly #keep: (body: ResponseBody) => Promise<void>;
  /** Taken by `poll`, which cannot wait until it is stored. */
  #last: GenerateEvent | null = null;

  constructor(events: EventStream, frame: ResponseFrame, keep: (body: ResponseBody) => Promise<void>) {
    this.#events = events;
    this.#output = new ResponseOutput(frame);
    this.#keep = keep;
  }

  async next(): Promise<GenerateEvent | null> {
    const event = this.#last ?? (await this.#events.next());
    if (event === null) return null;
    if (this.#last === null) this.#output.add(event);
    this.#last = null;
    if (event.type === "done") await this.#keep(this.#output.body());
    return event;
  }

  poll(): GenerateEvent | null {
    if (this.#last !== null) return null;
    const event = this.#events.poll?.() ?? null;
    if (event === null) return null;
    this.#output.add(event);
    if (event.type !== "done") return event;
    this.#last = event;
    return null;
  }

  cancel(): void {
    this.#events.cancel();
  }
}
