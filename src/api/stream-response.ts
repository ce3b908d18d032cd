/**
 * An event stream as a streamed response, pulled by the client: each pull takes events until one has text, and what else
 * is here already, and writes that, so the engine runs only as fast as somebody reads, and a reader that goes away is
 * noticed at once.
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
  /** Since when a pull has waited for it. */
  #waitingSinceMs = 0;
  /** Of the pull that waits. */
  #onSilence = () => {};
  /** One timer serves many waits, because tokens come every millisecond: one that rings too early is wound again. */
  #stopTimer: (() => void) | null = null;

  constructor(events: EventStream, encoder: StreamEncoder, context: StreamContext) {
    this.#events = events;
    this.#encoder = encoder;
    this.#context = context;
  }

  start(controller: Controller): void {
    const { signal } = this.#context;
    this.#cancellation = new Cancellation(this.#events, signal, () => {
      this.#endTimer();
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
        if (isLast(event)) return this.#close(controller, text);
      }
      for (let event = this.#poll(); event !== null; event = this.#poll()) {
        text += this.#encoder.encode(event);
        if (isLast(event)) return this.#close(controller, text);
      }
      controller.enqueue(textEncoder.encode(text));
    } catch (cause) {
      if (this.#cancellation!.isOver) return;
      this.#cancellation!.cancel();
      this.#close(controller, this.#encoder.fail(this.#context.describe(cause)));
    }
  }

  cancel(): void {
    this.#endTimer();
    this.#cancellation!.cancel();
  }

  #close(controller: Controller, lastText: string): void {
    this.#endTimer();
    this.#cancellation!.finish();
    if (lastText !== "") controller.enqueue(textEncoder.encode(lastText));
    controller.close();
    // A reader that brought its own buffer gets it back empty.
    controller.byobRequest?.respond(0);
  }

  /** Not while `next` is under way: the event it brings comes first. */
  #poll(): GenerateEvent | null {
    return this.#next === null ? (this.#events.poll?.() ?? null) : null;
  }

  #eventOrSilence(): Promise<GenerateEvent | null | typeof SILENCE> {
    this.#next ??= this.#events.next();
    const next = this.#next;
    this.#waitingSinceMs = this.#context.clock.nowMs();
    if (this.#stopTimer === null) this.#windTimer(KEEP_ALIVE_MS);
    return new Promise((resolve, reject) => {
      this.#onSilence = () => resolve(SILENCE);
      next.then(
        (event) => {
          this.#next = null;
          resolve(event);
        },
        (cause) => {
          this.#next = null;
          reject(cause);
        },
      );
    });
  }

  #windTimer(delayMs: number): void {
    const { clock } = this.#context;
    this.#stopTimer = clock.after(delayMs, () => {
      this.#stopTimer = null;
      // Nobody waits: the next pull winds it.
      if (this.#next === null) return;
      const silentMs = clock.nowMs() - this.#waitingSinceMs;
      if (silentMs >= KEEP_ALIVE_MS) this.#onSilence();
      else this.#windTimer(KEEP_ALIVE_MS - Math.max(0, silentMs));
    });
  }

  #endTimer(): void {
    this.#stopTimer?.();
    this.#stopTimer = null;
  }
}

function isLast(event: GenerateEvent | null): boolean {
  return event === null || event.type === "done" || event.type === "error";
}
