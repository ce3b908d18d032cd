/**
 * One answer between its engine and its reader: events wait here until they are taken, and it knows what another engine
 * needs to go on with it.
 */
import type { ApiError } from "../protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import { EventQueue } from "../serving/event-queue.ts";
import { heapBytes } from "../serving/event-size.ts";
import { KnownEvents, type Novelty } from "./known-events.ts";
import type { ToEngine } from "./messages.ts";
import type { RequestMeter } from "./request-meter.ts";

export interface OpenAnswerOptions {
  id: number;
  /** With a seed. */
  request: GenerateRequest;
  meter: RequestMeter;
  /** Milliseconds; only differences count. */
  nowMs: () => number;
}

export class OpenAnswer {
  /** Engines that were lost with it since it last gave something new. */
  numLosses = 0;
  /** Heap that its unread events hold, about. */
  heldBytes = 0;
  readonly #options: OpenAnswerOptions;
  readonly #arrivedAtMs: number;
  #firstTokenAtMs: number | null = null;
  readonly #admission = Promise.withResolvers<void>();
  #isAdmitted = false;
  readonly #known = new KnownEvents();
  /** How many engines were told of it. */
  #numLives = 0;
  #numCachedTokens = 0;
  readonly #unread = new EventQueue<GenerateEvent>();
  #hasEnded = false;
  /** Thrown when the events are read. */
  #error: ApiError | null = null;
  /** Of a reader that waits. */
  #wake = () => {};

  constructor(options: OpenAnswerOptions) {
    this.#options = options;
    this.#arrivedAtMs = options.nowMs();
  }

  get id(): number {
    return this.#options.id;
  }

  get meter(): RequestMeter {
    return this.#options.meter;
  }

  /** Nothing more will come. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  get isAdmitted(): boolean {
    return this.#isAdmitted;
  }

  /** Resolves when an engine has taken it on. */
  get admitted(): Promise<void> {
    return this.#admission.promise;
  }

  /** For an engine that has not heard of it: what to compute, and how much of it is known already. */
  message(): ToEngine {
    const { id, request } = this.#options;
    this.#known.beginAgain();
    this.#numLives++;
    const { prompts, n, beams, echo } = request;
    // Where several choices have their tokens in one order, or a prompt is given out too, everything is computed again.
    const isOneChoice = prompts.length === 1 && n === 1 && beams === null && !echo;
    return { type: "generate", id, request, generatedTokens: isOneChoice ? this.#known.generatedTokens(0) : [] };
  }

  admit(): void {
    this.#isAdmitted = true;
    this.#admission.resolve();
  }

  take(event: GenerateEvent): Novelty {
    const novelty = this.#known.take(event);
    if (novelty !== "new") return novelty;
    if (event.type === "start") this.#numCachedTokens = event.cachedTokens;
    else this.numLosses = 0;
    if (event.type !== "start" && event.type !== "prompt") this.#firstTokenAtMs ??= this.#options.nowMs();
    const whole = this.#ofAllLives(event);
    this.meter.observe(whole);
    this.#unread.push(whole);
    this.heldBytes += heapBytes(whole);
    if (event.type === "done" || event.type === "error") this.end();
    return novelty;
  }

  async next(): Promise<GenerateEvent | null> {
    while (this.#unread.length === 0 && !this.#hasEnded) {
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    const event = this.#unread.shift();
    if (event !== null) {
      this.heldBytes -= heapBytes(event);
      return event;
    }
    const error = this.#error;
    this.#error = null;
    if (error !== null) throw error;
    return null;
  }

  /** What is unread stays. */
  end(): void {
    this.#hasEnded = true;
    this.wakeReader();
  }

  /** Whether its client has an answer's head already or not, it hears of it. */
  fail(error: ApiError): void {
    this.#error = error;
    this.#admission.reject(error);
    this.end();
  }

  forget(): void {
    this.#unread.clear();
    this.end();
  }

  wakeReader(): void {
    this.#wake();
  }

  /** An engine that goes on with an answer counts and measures its own part; what it finds cached is the answer itself. */
  #ofAllLives(event: GenerateEvent): GenerateEvent {
    if (event.type !== "done" || this.#numLives === 1) return event;
    const nowMs = this.#options.nowMs();
    const { usage, timings } = event;
    return {
      ...event,
      usage: { ...usage, cachedTokens: this.#numCachedTokens },
      timings: {
        ...timings,
        ttftMs: (this.#firstTokenAtMs ?? nowMs) - this.#arrivedAtMs,
        totalMs: nowMs - this.#arrivedAtMs,
      },
    };
  }
}
