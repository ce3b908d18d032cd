/**
 * One running answer of a session. It drives its generation to the end whether anybody reads or not, keeps every event
 * for readers that come at any moment, and hands the text to storage in batches.
 *
 * Invariants: the log only grows and its last event is `done` or `error`; the sink hears of the end exactly once, before
 * any reader does (so that who saw the end can read it from storage); after `discard()` the sink hears nothing more.
 *
 * Promises stay inside the object that owns the session: only there are readers and producer the same I/O context.
 */
import { errorEventOf } from "../protocol/error-event.ts";
import type { ApiError } from "../protocol/errors.ts";
import type { FinishReason, GenerateEvent } from "../protocol/generate.ts";
import type { Generation, Transcript } from "../serving/language-model.ts";

/** A write of a row costs as much for one token as for many, and the platform holds output back until it is durable. */
const CHECKPOINT_EVENTS = 32;

export interface TurnSink {
  checkpoint(text: string): void;
  /** @param transcript null when the generation failed */
  ended(text: string, reason: FinishReason, transcript: Transcript | null): void;
}

export interface TurnHost {
  sink: TurnSink;
  /** Drives the generation: all events that are ready, at least one; empty after the last. Lets others in between. */
  nextEvents(): Promise<GenerateEvent[]>;
  /** What the client may know of an error; logs the rest. */
  describe(cause: unknown): ApiError;
  nowMs(): number;
}

export class Turn {
  readonly #generation: Generation;
  readonly #host: TurnHost;
  readonly #startedAtMs: number;
  readonly #events: GenerateEvent[] = [];
  #text = "";
  #numUnsaved = 0;
  #numCachedTokens = 0;
  #numTokens = 0;
  #reason: FinishReason | null = null;
  #firstTokenAtMs: number | null = null;
  #ended = false;
  #discarded = false;
  #waiting: (() => void)[] = [];

  constructor(generation: Generation, host: TurnHost) {
    this.#generation = generation;
    this.#host = host;
    this.#startedAtMs = host.nowMs();
  }

  /** Generates to the end. Never throws: a failure becomes an `error` event. */
  async run(): Promise<void> {
    try {
      while (!this.#ended) {
        const events = await this.#host.nextEvents();
        if (this.#ended) return;
        if (events.length === 0) throw new Error("The generation ended without a last event.");
        for (const event of events) this.#take(event);
        this.#save();
        this.#wakeReaders();
      }
    } catch (cause) {
      this.#fail(cause);
    }
  }

  /** Ends the answer with what it has, as a finish of kind "abort". */
  stop(): void {
    if (this.#ended) return;
    try {
      // Text that was generated belongs to the answer, also where nobody has taken it yet.
      for (let event = this.#generation.poll(); event !== null; event = this.#generation.poll()) this.#take(event);
      if (this.#ended) return;
      this.#generation.abort();
      if (this.#reason === null) this.#take({ type: "finish", index: 0, reason: "abort", stop: null });
      this.#take(this.#summary());
    } finally {
      this.#wakeReaders();
    }
  }

  /** The session is being deleted: stop, and leave storage alone. Readers see the end. */
  discard(): void {
    this.#discarded = true;
    this.stop();
  }

  /** Events from the first one on, as they come. */
  reader(): TurnReader {
    let position = 0;
    return {
      next: async () => {
        while (position === this.#events.length && !this.#ended) {
          await new Promise<void>((resolve) => this.#waiting.push(resolve));
        }
        const events = this.#events.slice(position);
        position = this.#events.length;
        return events;
      },
    };
  }

  #take(event: GenerateEvent): void {
    if (event.type === "start") this.#numCachedTokens = event.cachedTokens;
    if (event.type === "delta") {
      this.#text += event.text;
      this.#numTokens += event.tokenIds.length;
      this.#firstTokenAtMs ??= this.#host.nowMs();
      this.#numUnsaved++;
    }
    if (event.type === "finish") this.#reason = event.reason;
    if (event.type === "done") this.#end(this.#reason ?? "stop", this.#generation.transcript());
    if (event.type === "error") this.#end("abort", null);
    this.#events.push(event);
  }

  #save(): void {
    if (this.#ended || this.#numUnsaved < CHECKPOINT_EVENTS) return;
    this.#numUnsaved = 0;
    this.#host.sink.checkpoint(this.#text);
  }

  #end(reason: FinishReason, transcript: Transcript | null): void {
    this.#ended = true;
    if (!this.#discarded) this.#host.sink.ended(this.#text, reason, transcript);
  }

  /** Also for a sink that failed at the very end: then only the readers are left to be told. */
  #fail(cause: unknown): void {
    this.#generation.abort();
    const event = errorEventOf(this.#host.describe(cause));
    try {
      if (this.#ended) this.#events.push(event);
      else this.#take(event);
    } finally {
      this.#wakeReaders();
    }
  }

  #summary(): GenerateEvent {
    const totalMs = this.#host.nowMs() - this.#startedAtMs;
    const ttftMs = this.#firstTokenAtMs === null ? totalMs : this.#firstTokenAtMs - this.#startedAtMs;
    return {
      type: "done",
      usage: {
        promptTokens: this.#generation.numPromptTokens,
        completionTokens: this.#numTokens,
        cachedTokens: this.#numCachedTokens,
      },
      timings: { queueMs: 0, ttftMs, totalMs },
    };
  }

  #wakeReaders(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

export interface TurnReader {
  /** All events not yet read, at least one; empty at the end. */
  next(): Promise<GenerateEvent[]>;
}
