/**
 * A turn's generation by an origin. The turn keeps, stores and hands on the events like an engine's; what differs is a
 * fault in the middle. An origin's words cannot be computed again from their tokens, so an answer goes on only where the
 * origin can be given its first words (`continue_final_message`); elsewhere it ends with what there is of it.
 */
import { ApiError, unavailable, upstreamFailed } from "../../protocol/errors.ts";
import type { GenerateEvent, Usage } from "../../protocol/generate.ts";
import { heapBytes } from "../../serving/event-size.ts";
import { EVENTS_PER_CHUNK_MAX } from "../turn.ts";
import type { TurnLog } from "../turn-log.ts";
import type { TurnGeneration, TurnSource } from "../turn-source.ts";
import type { OriginGeneration } from "./origin-generation.ts";

/** A turn keeps its events in memory for its readers: about 20,000 tokens without logprobs. */
export const TURN_EVENT_BYTES_MAX = 6_000_000;
const RETRY_S = 5;
const NO_TIMINGS = { queueMs: 0, ttftMs: 0, totalMs: 0 };

export interface OriginTurn {
  /** Name of the model. */
  model: string;
  /** null = the answer is whole, only its last event is missing. */
  generation: OriginGeneration | null;
  /** What the origin has given already. */
  first: readonly GenerateEvent[];
  /** The answer so far, where it goes on. */
  known: TurnLog | null;
  /** It can go on if it is cut. */
  canGoOn: boolean;
}

export class OriginTurnSource implements TurnSource, TurnGeneration {
  readonly model: string;
  readonly #generation: OriginGeneration | null;
  readonly #canGoOn: boolean;
  readonly #numKnownTokens: number;
  readonly #isContinued: boolean;
  readonly #queue: GenerateEvent[] = [];
  #heldBytes = 0;
  #isFinished = false;

  constructor({ model, generation, first, known, canGoOn }: OriginTurn) {
    this.model = model;
    this.#generation = generation;
    this.#canGoOn = canGoOn;
    this.#numKnownTokens = known?.numTokens ?? 0;
    this.#isContinued = known !== null;
    for (const event of known?.events ?? []) this.#push(event);
    for (const event of first) this.#take(event);
    if (generation === null) this.#push({ type: "done", usage: this.#withKnown(null), timings: NO_TIMINGS });
  }

  get generation(): TurnGeneration {
    return this;
  }

  /** Only the end of the stream tells. */
  readonly numPromptTokens = 0;

  /** Relaying takes next to no CPU time, so that no budget is spent. */
  async nextEvents(): Promise<GenerateEvent[]> {
    while (this.#queue.length === 0 && this.#generation !== null) {
      const events = await this.#nextOf(this.#generation);
      if (events.length === 0) break;
      for (const event of events) this.#take(event);
      if (this.#heldBytes > TURN_EVENT_BYTES_MAX) this.#endEarly(this.#generation);
    }
    return this.#queue.splice(0, EVENTS_PER_CHUNK_MAX);
  }

  poll(): GenerateEvent | null {
    return this.#queue.shift() ?? null;
  }

  abort(): void {
    this.#generation?.abort();
  }

  transcript(): null {
    return null;
  }

  checkpointed(): void {}

  ended(): void {}

  /** A status of 503 lets the turn look for another generation; any other one ends it. */
  async #nextOf(generation: OriginGeneration): Promise<GenerateEvent[]> {
    try {
      return await generation.nextEvents();
    } catch (cause) {
      if (!(cause instanceof ApiError)) throw cause;
      if (this.#canGoOn && cause.status >= 500) throw unavailable(cause.message, RETRY_S);
      throw cause.status === 503 ? upstreamFailed(cause.message) : cause;
    }
  }

  #take(event: GenerateEvent): void {
    if (this.#isFinished) return;
    if (event.type === "start" && this.#isContinued) return;
    if (event.type === "done") this.#push({ ...event, usage: this.#withKnown(event.usage) });
    else this.#push(event);
  }

  #push(event: GenerateEvent): void {
    this.#heldBytes += heapBytes(event);
    if (event.type === "done") this.#isFinished = true;
    this.#queue.push(event);
  }

  /** What the origin counts as a prompt has the words that were there already. */
  #withKnown(usage: Usage | null): Usage {
    const promptTokens = Math.max((usage?.promptTokens ?? 0) - this.#numKnownTokens, 0);
    const completionTokens = (usage?.completionTokens ?? 0) + this.#numKnownTokens;
    return { ...(usage ?? { cachedTokens: 0 }), promptTokens, completionTokens };
  }

  #endEarly(generation: OriginGeneration): void {
    if (this.#isFinished) return;
    generation.abort();
    this.#push({ type: "finish", index: 0, reason: "length", stop: null });
    this.#push({ type: "done", usage: this.#withKnown(null), timings: NO_TIMINGS });
  }
}
