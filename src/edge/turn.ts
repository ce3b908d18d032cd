/**
 * One running answer of a session. It drives its generation to the end whether anybody reads or not, keeps every event
 * for readers that come at any moment, and hands events and text to storage in batches.
 *
 * Invariants: the log only grows and its last event is `done` or `error`; the sink hears of the end exactly once, before
 * any reader does (so that who saw the end can read it from storage); after `discard()` the sink hears nothing more.
 *
 * A turn that goes on after a fault begins with the events that were stored. Its generation gives all events again, the
 * same ones in the same order, and as many as are known are passed over.
 *
 * Promises stay inside the object that owns the session: only there are readers and producer the same I/O context.
 */
import { errorEventOf } from "../protocol/error-event.ts";
import type { ApiError } from "../protocol/errors.ts";
import type { FinishReason, GenerateEvent, Timings } from "../protocol/generate.ts";
import type { Generation, Transcript } from "../serving/language-model.ts";
import { TurnLog } from "./turn-log.ts";

/** A write of a row costs as much for one token as for many, and the platform holds output back until it is durable. */
const CHECKPOINT_EVENTS = 32;

export interface TurnSink {
  /** @param events those since the last call */
  checkpoint(text: string, events: GenerateEvent[]): void;
  /**
   * @param transcript null when the generation failed
   * @param events those since the last checkpoint
   */
  ended(text: string, reason: FinishReason, transcript: Transcript | null, events: GenerateEvent[]): void;
}

export interface TurnHost {
  /** Name of the model, for an answer that ends before it begins. */
  model: string;
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
  readonly #log: TurnLog;
  /** Events of the log that storage has. */
  #numSaved: number;
  /** Events that the generation gave, and those of them that were known. */
  #numGiven = 0;
  readonly #numKnown: number;
  #firstTokenAtMs: number | null = null;
  /** It heard of the end, or shall hear nothing. */
  #isSinkDone = false;
  #waiting: (() => void)[] = [];

  /** @param log what is stored of it */
  constructor(generation: Generation, host: TurnHost, log: TurnLog = new TurnLog()) {
    this.#generation = generation;
    this.#host = host;
    this.#startedAtMs = host.nowMs();
    this.#log = log;
    this.#numSaved = log.events.length;
    this.#numKnown = log.events.length;
  }

  /** Generates to the end. Never throws: a failure becomes an `error` event. */
  async run(): Promise<void> {
    try {
      while (!this.#log.hasEnded) {
        const events = await this.#host.nextEvents();
        if (this.#log.hasEnded) return;
        if (events.length === 0) throw new Error("The generation ended without a last event.");
        for (const event of events) this.#receive(event);
        this.#save();
        this.#wakeReaders();
      }
    } catch (cause) {
      this.#fail(cause);
    }
  }

  /** Ends the answer with what it has, as a finish of kind "abort". */
  stop(): void {
    if (this.#log.hasEnded) return;
    try {
      // Text that was generated belongs to the answer, also where nobody has taken it yet.
      for (let event = this.#generation.poll(); event !== null; event = this.#generation.poll()) this.#receive(event);
      if (this.#log.hasEnded) return;
      this.#generation.abort();
      const { model } = this.#host;
      const last = this.#log.abortEvents(model, this.#generation.numPromptTokens, this.#timings());
      for (const event of last) this.#take(event);
    } finally {
      this.#wakeReaders();
    }
  }

  /** The session is being deleted: stop, and leave storage alone. Readers see the end. */
  discard(): void {
    this.#isSinkDone = true;
    this.stop();
  }

  /** @param position events that the reader has; it may have seen more than storage had when a fault came */
  reader(position = 0): TurnReader {
    const { events } = this.#log;
    return {
      next: async () => {
        while (position >= events.length && !this.#log.hasEnded) {
          await new Promise<void>((resolve) => this.#waiting.push(resolve));
        }
        const read = eventsFrom(events, position);
        position = events.length;
        return read;
      },
    };
  }

  #receive(event: GenerateEvent): void {
    if (event.type === "delta") this.#firstTokenAtMs ??= this.#host.nowMs();
    if (this.#numGiven++ < this.#numKnown && event.type !== "error") return;
    this.#take(event);
  }

  #take(event: GenerateEvent): void {
    const known = this.#withFirstUsage(event);
    const isEnd = known.type === "done" || known.type === "error";
    if (isEnd && !this.#isSinkDone) this.#end(known);
    this.#log.push(known);
  }

  #end(last: GenerateEvent): void {
    const { events, text, reason } = this.#log;
    const unsaved = [...events.slice(this.#numSaved), last];
    const transcript = last.type === "error" ? null : this.#generation.transcript();
    this.#isSinkDone = true;
    this.#host.sink.ended(text, last.type === "error" ? "abort" : (reason ?? "stop"), transcript, unsaved);
  }

  #save(): void {
    const { events, text, hasEnded } = this.#log;
    if (hasEnded || events.length - this.#numSaved < CHECKPOINT_EVENTS) return;
    this.#host.sink.checkpoint(text, events.slice(this.#numSaved));
    this.#numSaved = events.length;
  }

  /** Also for a sink that failed at the very end: then only the readers are left to be told. */
  #fail(cause: unknown): void {
    this.#generation.abort();
    const last = errorEventOf(this.#host.describe(cause));
    try {
      this.#take(last);
    } catch (cause) {
      // The sink failed as well, and is not asked again.
      this.#host.describe(cause);
      this.#take(last);
    } finally {
      this.#wakeReaders();
    }
  }

  /** What was cached when the turn began; going on after a fault finds more in the cache, its own tokens among it. */
  #withFirstUsage(event: GenerateEvent): GenerateEvent {
    if (event.type !== "done") return event;
    return { ...event, usage: { ...event.usage, cachedTokens: this.#log.numCachedTokens } };
  }

  #timings(): Timings {
    const totalMs = this.#host.nowMs() - this.#startedAtMs;
    const ttftMs = this.#firstTokenAtMs === null ? totalMs : this.#firstTokenAtMs - this.#startedAtMs;
    return { queueMs: 0, ttftMs, totalMs };
  }

  #wakeReaders(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake();
  }
}

/**
 * Events after the first `position`. A reader that has more than there is, since the answer was stopped before it was
 * made good, gets how it ended.
 */
export function eventsFrom(events: readonly GenerateEvent[], position: number): GenerateEvent[] {
  if (position <= events.length) return events.slice(position);
  const end = events.findIndex(({ type }) => type === "finish" || type === "error");
  return end < 0 ? [] : events.slice(end);
}

export interface TurnReader {
  /** All events not yet read, at least one; empty at the end. */
  next(): Promise<GenerateEvent[]>;
}
