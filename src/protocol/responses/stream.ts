/**
 * A streamed response: server-sent events with the event's type in an `event:` line and a number that counts them from 0
 * (OpenAI API reference, "Streaming events"). It ends with `response.completed`, `.incomplete` or `.failed`; there is no
 * `[DONE]`.
 */
import type { StreamEncoder } from "../answer-encoder.ts";
import type { ApiError } from "../errors.ts";
import type { GenerateEvent } from "../generate.ts";
import { SSE_HEADERS, SSE_PING } from "../sse.ts";
import { ResponseOutput, type StreamEvent } from "./output.ts";
import type { ResponseFrame } from "./response-body.ts";

export class ResponseStream implements StreamEncoder {
  readonly headers = SSE_HEADERS;
  readonly keepAlive = SSE_PING;
  readonly #output: ResponseOutput;
  #numEvents = 0;

  constructor(frame: ResponseFrame) {
    this.#output = new ResponseOutput(frame);
  }

  encode(event: GenerateEvent): string {
    return this.#write(this.#output.add(event));
  }

  end(): void {
    this.#output.end();
  }

  fail(error: ApiError): string {
    return this.#write(this.#output.fail(error));
  }

  #write(events: StreamEvent[]): string {
    return events
      .map(({ type, ...fields }) => {
        const body = JSON.stringify({ type, sequence_number: this.#numEvents++, ...fields });
        return `event: ${type}\ndata: ${body}\n\n`;
      })
      .join("");
  }
}
