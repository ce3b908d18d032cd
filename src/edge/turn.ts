/**
 * One running answer of a session. It drives its generation to the end whether anybody reads or not, keeps every event
 * for readers that come at any moment, and hands events and text to storage in batches.
 *
 * Invariants: the log only grows and its last event is `done` or `error`; the sink hears of the end exactly once, before
 * any reader does (so that who saw the end can read it from storage); after `discard()` the sink hears nothing more.
 *
 * A turn that goes on after a fault begins with the events that were stored, or with those it has. Its generation gives
 * all events again, the same ones in the same order, and as many as are known are passed over.
 *
 * It runs in as many invocations as it takes: `run` ends with the CPU budget of one, everything stored, and is called
 * again in the next. Readers wait for events, not for whoever makes them, and notice nothing.
 *
 * Promises stay inside the object that owns the session: only there are readers and producer the same I/O context.
 */
import { errorEventOf } from "../protocol/error-event.ts";
import type { ApiError } from "../protocol/errors.ts";
import type { FinishReason, GenerateEvent, Timings } from "../protocol/generate.ts";
import type { Transcript } from "../serving/language-model.ts";
import type { CpuBudget } from "./cpu-budget.ts";
import { TurnLog } from "./turn-log.ts";
import type { TurnGeneration } from "./turn-source.ts";

const UNAVAILABLE = 503;

/** A reader that comes late or is slow gets a long answer in pieces: one at a time is all it can hold of this side. */
export const EVENTS_PER_CHUNK_MAX = 64;

/** A write of a row costs as much for one token as for many, and the platform holds output back until it is durable. */
const CHECKPOINT_EVENTS = 32;

/** "spent": to be run again in another invocation; "lost": its generation is gone, and it needs another (`goOn`). */
export type RunOutcome = "ended" | "spent" | "lost";

export interface TurnSink {
  /**
   * @param events those since the last call
   * @param isLast of this invocation
   */
  checkpoint(text: string, events: GenerateEvent[], isLast: boolean): void;
  /**
   * @param transcript null when the generation failed, or nobody knows its tokens
   * @param events those since the last checkpoint
   */
  ended(text: string, reason: FinishReason, transcript: Transcript | null, events: GenerateEvent[]): void;
}

export interface TurnHost {
  /** Name of the model, for an answer that ends before it begins. */
  model: string;
  sink: TurnSink;
  /**
   * Drives the generation: all events that are ready, at least one; empty after the last, or with a spent budget. Lets
   * others in between.
   */
  nextEvents(budget: CpuBudget): Promise<GenerateEvent[]>;
  /** What the client may know of an error; logs the rest. */
  describe(cause: unknown): ApiError;
  nowMs(): number;
}

export class Turn {
  #generation: TurnGeneration;
  readonly #host: TurnHost;
  readonly #startedAtMs: number;
  readonly #log: TurnLog;
  /** Events of the log that storage has. */
  #numSaved: number;
  /** Events that the generation gave, and those of them that were known. */
  #numGiven = 0;
  #numKnown: number;
  /** Why its generation is gone. */
  #fault: GenerateEvent | null = null;
  #firstTokenAtMs: number | null = null;
  /** It heard of the end, or shall hear nothing. */
  #isSinkDone = false;
  #waiting: (() => void)[] = [];

  /** @param log what is stored of it */
  constructor(generation: TurnGeneration, host: TurnHost, log: TurnLog = new TurnLog()) {
    this.#generation = generation;
    this.#host = host;
    this.#startedAtMs = host.nowMs();
    this.#log = log;
    this.#numSaved = log.events.length;
    this.#numKnown = log.events.length;
  }

  /** Generates until the end, or until the budget is spent. Never throws: a failure becomes an `error` event. */
  async run(budget: CpuBudget): Promise<RunOutcome> {
    try {
      while (!this.#log.hasEnded && this.#fault === null) {
        const events = await this.#host.nextEvents(budget);
        if (this.#log.hasEnded) break;
        for (const event of events) if (this.#fault === null) this.#receive(event);
        const isSpent = budget.isSpent;
        // Aborted by somebody else: nobody drove it for too long.
        if (events.length === 0 && !isSpent) this.#lose(this.#errorOf(new Error("The generation was aborted.")));
        this.#save(isSpent || this.#fault !== null);
        this.#wakeReaders();
        if (isSpent) break;
      }
    } catch (cause) {
      this.#receiveError(this.#errorOf(cause));
    }
    if (this.#log.hasEnded) return "ended";
    return this.#fault === null ? "spent" : "lost";
  }

  /** What is known of it, for another generation. */
  get log(): TurnLog {
    return this.#log;
  }

  get isLost(): boolean {
    return this.#fault !== null && !this.#log.hasEnded;
  }

  /** Another generation, that begins as `log` does, in the place of one that is gone. */
  goOn(generation: TurnGeneration): void {
    this.#generation = generation;
    this.#fault = null;
    this.#numGiven = 0;
    this.#numKnown = this.#log.events.length;
  }

  /** It cannot go on: the fault that cut it is its end. */
  fail(cause: unknown): void {
    this.#endWith(this.#fault ?? this.#errorOf(cause));
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
    } catch (cause) {
      // Its end could not be stored, and nobody drives it any more: the readers must still see one.
      this.#endWith(this.#errorOf(cause));
      throw cause;
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
        const read = eventsFrom(events, position).slice(0, EVENTS_PER_CHUNK_MAX);
        position = Math.min(position + read.length, events.length);
        return read;
      },
    };
  }

  #receive(event: GenerateEvent): void {
    if (event.type === "delta" || event.type === "reasoning") this.#firstTokenAtMs ??= this.#host.nowMs();
    if (event.type === "error") this.#receiveError(event);
    else if (this.#numGiven++ >= this.#numKnown) this.#take(event);
  }

  /** What will pass (no engine right now) is no end; what will not is. */
  #receiveError(event: Extract<GenerateEvent, { type: "error" }>): void {
    if (event.status === UNAVAILABLE && !this.#log.hasEnded) this.#lose(event);
    else this.#endWith(event);
  }

  #lose(fault: GenerateEvent): void {
    this.#generation.abort();
    this.#fault = fault;
  }

  #errorOf(cause: unknown): Extract<GenerateEvent, { type: "error" }> {
    return errorEventOf(this.#host.describe(cause));
  }

  #take(event: GenerateEvent): void {
    const known = this.#withFirstUsage(event);
    const isEnd = known.type === "done" || known.type === "error";
    if (isEnd && !this.#isSinkDone) this.#tellSink(known);
    this.#log.push(known);
  }

  /** Also for a sink that failed at the very end: then only the readers are left to be told. */
  #endWith(error: GenerateEvent): void {
    if (this.#log.hasEnded) return;
    this.#generation.abort();
    try {
      this.#take(error);
    } finally {
      if (!this.#log.hasEnded) this.#log.push(error);
      this.#wakeReaders();
    }
  }

  #tellSink(last: GenerateEvent): void {
    const { events, text, reason } = this.#log;
    const unsaved = [...events.slice(this.#numSaved), last];
    const transcript = last.type === "error" ? null : this.#generation.transcript();
    this.#isSinkDone = true;
    this.#host.sink.ended(text, last.type === "error" ? "abort" : (reason ?? "stop"), transcript, unsaved);
  }

  #save(isLast: boolean): void {
    const { events, text, hasEnded } = this.#log;
    if (hasEnded || (!isLast && events.length - this.#numSaved < CHECKPOINT_EVENTS)) return;
    this.#host.sink.checkpoint(text, events.slice(this.#numSaved), isLast);
    this.#numSaved = events.length;
  }

  /** What was cached when the turn began; going on after a fault finds more in the cache, its own tokens among it. */
  #withFirstUsage(event: GenerateEvent): GenerateEvent {
    if (event.type !== "done" || this.#numKnown === 0) return event;
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
  /** Events not yet read, at least one and not too many; empty at the end. */
  next(): Promise<GenerateEvent[]>;
}
