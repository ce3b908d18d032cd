/**
 * An event stream as a streamed response, pulled by the client: each pull takes events until one has text and writes
 * that, so the engine runs only as fast as somebody reads, and a reader that goes away is noticed at once.
 *
 * While the engine is silent a pull writes the encoder's keep-alive instead and leaves the event it waits for to the
 * next pull; nothing is ever written that was not pulled.
 */
import type { StreamEncoder } from "../protocol/answer-encoder.ts";
import type { ApiError } from "../protocol/errors.ts";
import type { GenerateEvent } from "../protocol/generate.ts";
import { KEEP_ALIVE_MS } from "../protocol/limits.ts";
import { Cancellation } from "./cancellation.ts";
import type { Clock } from "./clock.ts";
import type { EventStream } from "./model-service.ts";

export interface StreamContext {
  clock: Clock;
  /** Of the request. */
  signal: AbortSignal;
  /** What the client may know of an exception; logs the rest. */
  describe: (cause: unknown) => ApiError;
}

export function streamResponse(events: EventStream, encoder: StreamEncoder, context: StreamContext): Response {
  const source = new AnswerSource(events, encoder, context);
  return new Response(new ReadableStream(source, { highWaterMark: 0 }), { headers: encoder.headers });
}

const SILENCE = Symbol("silence");

type Controller = ReadableByteStreamController;

const textEncoder = new TextEncoder();

class AnswerSource {
  readonly type = "bytes" as const;
  readonly #events: EventStream;
  readonly #encoder: StreamEncoder;
  readonly #context: StreamContext;
  #cancellation: Cancellation | null = null;
  /** Asked for and not yet taken: it outlives a pull that wrote a keep-alive. */
  #next: Promise<GenerateEvent | null> | null = null;
  #stopTimer = () => {};

  constructor(events: EventStream, encoder: StreamEncoder, context: StreamContext) {
    this.#events = events;
    this.#encoder = encoder;
    this.#context = context;
  }

  start(controller: Controller): void {
    const { signal } = this.#context;
    this.#cancellation = new Cancellation(this.#events, signal, () => {
      this.#stopTimer();
      controller.error(signal.reason);
    });
  }

  async pull(controller: Controller): Promise<void> {
    try {
      let text = "";
      while (text === "") {
        const event = await this.#eventOrSilence();
        if (this.#cancellation!.isOver) return;
        if (event === SILENCE) {
          text = this.#encoder.keepAlive ?? "";
          continue;
        }
        if (event === null) this.#encoder.end();
        else text = this.#encoder.encode(event);
        if (event === null || event.type === "done" || event.type === "error") return this.#close(controller, text);
      }
      controller.enqueue(textEncoder.encode(text));
    } catch (cause) {
      if (this.#cancellation!.isOver) return;
      this.#cancellation!.cancel();
      this.#close(controller, this.#encoder.fail(this.#context.describe(cause)));
    }
  }

  cancel(): void {
    this.#stopTimer();
    this.#cancellation!.cancel();
  }

  #close(controller: Controller, lastText: string): void {
    this.#cancellation!.finish();
    if (lastText !== "") controller.enqueue(textEncoder.encode(lastText));
    controller.close();
    // A reader that brought its own buffer gets it back empty.
    controller.byobRequest?.respond(0);
  }

  #eventOrSilence(): Promise<GenerateEvent | null | typeof SILENCE> {
    this.#next ??= this.#events.next();
    const next = this.#next;
    return new Promise((resolve, reject) => {
      this.#stopTimer = this.#context.clock.after(KEEP_ALIVE_MS, () => resolve(SILENCE));
      const settle = () => {
        this.#stopTimer();
        this.#next = null;
      };
      next.then(
        (event) => {
          settle();
          resolve(event);
        },
        (cause) => {
          settle();
          reject(cause);
        },
      );
    });
  }
}
