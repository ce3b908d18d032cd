/**
 * One request to one origin: its response judged, its bytes as events, and what that teaches about the origin. Bytes are
 * read only when events are asked for, so a slow client slows the origin down and nothing piles up here.
 *
 * Invariants: the origin hears of its outcome exactly once; after an end, a failure or `abort()` the connection is
 * closed and the place in flight is free. Failures are `OriginFailure`s.
 */
import type { Clock } from "../../api/clock.ts";
import type { GenerateEvent } from "../../protocol/generate.ts";
import { UpstreamStreamError, upstreamErrorBody } from "../../protocol/openai/upstream-error.ts";
import { UpstreamEvents, type UpstreamEventsOptions } from "../../protocol/openai/upstream-events.ts";
import type { UpstreamCall } from "../../protocol/openai/upstream-request.ts";
import { SSE_EVENT_CHARS_MAX, SseDecoder } from "../../protocol/sse-decoder.ts";
import type { Place } from "./in-flight.ts";
import type { Origin } from "./origin.ts";
import { brokenStream, OriginFailure, refused, timedOut, unreachable } from "./origin-failure.ts";
import { TimeLimitPassed, within } from "./time-limit.ts";
import type { Upstream } from "./upstream.ts";

/** Of the body of a refusal: its reason stands at its beginning. */
const REASON_CHARS_MAX = 16_384;

export interface OriginCallOptions {
  origin: Origin;
  upstream: Upstream;
  call: UpstreamCall;
  requestId: string;
  events: UpstreamEventsOptions;
  clock: Clock;
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

export class OriginCall {
  readonly #options: OriginCallOptions;
  readonly #controller = new AbortController();
  readonly #events: UpstreamEvents;
  readonly #place: Place;
  readonly #firstByteBeforeMs: number;
  #reader: Reader | null = null;
  #decoder: SseDecoder | null = null;
  #hasBytes = false;
  #isOver = false;

  constructor(options: OriginCallOptions) {
    const { origin, clock } = options;
    this.#options = options;
    this.#events = new UpstreamEvents(options.events);
    this.#place = origin.inFlight.take();
    origin.breaker.began(clock.nowMs());
    this.#firstByteBeforeMs = clock.nowMs() + origin.config.firstByteMs;
  }

  /** Sends the request and judges the head of its response. Once. @throws OriginFailure */
  async open(): Promise<void> {
    const { upstream, call, requestId } = this.#options;
    try {
      const sent = upstream.send(call, requestId, this.#controller.signal);
      const response = await this.#inTime(sent, "did not answer");
      if (!response.ok || response.body === null) throw await this.#refusal(response);
      const isJson = /^application\/([\w.-]+\+)?json/i.test(response.headers.get("content-type") ?? "");
      this.#decoder = isJson ? null : new SseDecoder();
      this.#reader = response.body.getReader();
    } catch (cause) {
      throw this.#fail(cause);
    }
  }

  /** Events that are ready, waiting for the first; empty after the last one. @throws OriginFailure */
  async nextEvents(): Promise<GenerateEvent[]> {
    try {
      while (!this.#isOver) {
        const events = this.#decoder === null ? await this.#wholeAnswer() : await this.#streamed(this.#decoder);
        if (this.#events.hasText) this.#options.origin.breaker.responded();
        if (this.#events.hasEnded) this.#succeed();
        if (events.length > 0) return events;
      }
      return [];
    } catch (cause) {
      if (this.#isOver) return [];
      throw this.#fail(cause);
    }
  }

  /** The client wants no more of it. Safe any number of times. */
  abort(): void {
    if (this.#isOver) return;
    this.#options.origin.breaker.gaveUp();
    this.#close();
  }

  async #streamed(decoder: SseDecoder): Promise<GenerateEvent[]> {
    const bytes = await this.#read();
    const read = bytes === null ? decoder.end() : decoder.push(bytes);
    const events = read.flatMap((event) => this.#events.push(event));
    return bytes === null ? [...events, ...this.#events.end()] : events;
  }

  /** Of a server that ignored `stream`. */
  async #wholeAnswer(): Promise<GenerateEvent[]> {
    const text = await this.#text(SSE_EVENT_CHARS_MAX, "its answer");
    const value = jsonOf(text);
    if (value === undefined) throw new UpstreamStreamError("its answer is no JSON");
    const events = this.#events.pushChunk(value);
    return [...events, ...this.#events.end()];
  }

  async #text(charsMax: number, what: string): Promise<string> {
    const decoder = new TextDecoder();
    let text = "";
    for (let bytes = await this.#read(); bytes !== null; bytes = await this.#read()) {
      text += decoder.decode(bytes, { stream: true });
      if (text.length > charsMax) throw new UpstreamStreamError(`${what} has more than ${charsMax} characters`);
    }
    return text + decoder.decode();
  }

  /** @returns null at the end */
  async #read(): Promise<Uint8Array | null> {
    this.#place.use();
    try {
      const { done, value } = await this.#inTime(this.#reader!.read(), "sent nothing");
      this.#hasBytes = true;
      return done ? null : value;
    } catch (cause) {
      // Only the end mark was missing, on a connection that is kept open.
      if (cause instanceof OriginFailure && this.#events.isWhole) return null;
      throw cause;
    }
  }

  async #inTime<T>(work: Promise<T>, what: string): Promise<T> {
    const { origin, clock } = this.#options;
    const { firstByteMs, betweenBytesMs } = origin.config;
    const limitMs = this.#hasBytes ? betweenBytesMs : Math.max(this.#firstByteBeforeMs - clock.nowMs(), 0);
    try {
      return await within(clock, limitMs, work);
    } catch (cause) {
      if (!(cause instanceof TimeLimitPassed)) throw cause;
      // What was begun ends with the connection, and nobody waits for it.
      work.catch(() => {});
      throw timedOut(origin.name, what, this.#hasBytes ? betweenBytesMs : firstByteMs);
    }
  }

  async #refusal(response: Response): Promise<OriginFailure> {
    const { origin, upstream, clock } = this.#options;
    const { status, headers, body } = response;
    if (response.ok) return unreachable(origin.name);
    this.#reader = body?.getReader() ?? null;
    // A reason that does not come, or is a book, is none.
    const text = this.#reader === null ? "" : await this.#text(REASON_CHARS_MAX, "its refusal").catch(() => "");
    const said = upstreamErrorBody(jsonOf(text));
    const retryAfter = headers.get("retry-after");
    return refused(origin.name, { status, retryAfter, body: said }, clock.nowMs(), (words) => upstream.hide(words));
  }

  #succeed(): void {
    if (this.#isOver) return;
    this.#options.origin.breaker.completed();
    this.#close();
  }

  #fail(cause: unknown): OriginFailure {
    const { origin, upstream, clock } = this.#options;
    const failure = this.#failureOf(cause, (text) => upstream.hide(text));
    if (!this.#isOver) {
      if (failure.isFault) origin.breaker.failed(clock.nowMs());
      else if (failure.restMs > 0) origin.breaker.gaveUp();
      else origin.breaker.responded();
      if (failure.restMs > 0) origin.rest(clock.nowMs() + failure.restMs);
    }
    this.#close();
    return failure;
  }

  #failureOf(cause: unknown, hide: (text: string) => string): OriginFailure {
    const { origin } = this.#options;
    if (cause instanceof OriginFailure) return cause;
    if (cause instanceof UpstreamStreamError) return brokenStream(origin.name, cause, hide);
    if (!this.#hasBytes) return unreachable(origin.name);
    return brokenStream(origin.name, new UpstreamStreamError("the connection was lost"), hide);
  }

  #close(): void {
    this.#isOver = true;
    this.#place.leave();
    this.#controller.abort();
    // It may be broken already; either way nothing is left to read.
    this.#reader?.cancel().catch(() => {});
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
