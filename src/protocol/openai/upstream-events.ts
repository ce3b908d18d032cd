/**
 * Another server's stream as `GenerateEvent`s. Takes the data of its server-sent events, or its whole answer where it
 * ignored `stream`, and gives well-ordered events whatever it leaves out or says twice. The answer is whole when every
 * choice has its finish or `[DONE]` came; a stream that ends before that was cut, and throws.
 *
 * What is unknown until the end (tokens of the prompt) is 0 in `start`; `done` has the server's counts, or how many
 * pieces came where it gives none.
 */
import type { FinishReason, GenerateEvent, Timings, Usage } from "../generate.ts";
import { objectOf } from "../json-values.ts";
import type { SseEvent } from "../sse-decoder.ts";
import { UpstreamCalls } from "./upstream-calls.ts";
import { readUpstreamChunk, type UpstreamChoice, type UpstreamUsage } from "./upstream-chunk.ts";
import { UpstreamStreamError, upstreamErrorBody } from "./upstream-error.ts";

export interface UpstreamEventsOptions {
  /** Our name of the model. */
  model: string;
  /** Choice index = promptIndex · n + i. */
  numChoices: number;
  wantsLogprobs: boolean;
  /** See `echoedTexts`; one for each choice. */
  echoed: readonly string[] | null;
  /** What an answer with calls ends with, whichever of both the server says. */
  callsReason: "stop" | "tool_calls";
  /** For calls that come without an id. */
  newCallId(): string;
  nowMs(): number;
}

export class UpstreamEvents {
  readonly #options: UpstreamEventsOptions;
  readonly #startedAtMs: number;
  readonly #isFinished: boolean[];
  readonly #calls: UpstreamCalls[];
  #firstTextAtMs: number | null = null;
  #hasStarted = false;
  #hasEnded = false;
  #numPieces = 0;
  #usage: UpstreamUsage | null = null;

  constructor(options: UpstreamEventsOptions) {
    this.#options = options;
    this.#startedAtMs = options.nowMs();
    this.#isFinished = new Array(options.numChoices).fill(false);
    this.#calls = this.#isFinished.map((_, index) => new UpstreamCalls(index, options.newCallId));
  }

  /** `done` was given; what comes after it is nobody's. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Some of the answer was given: it cannot be begun anew elsewhere. */
  get hasText(): boolean {
    return this.#firstTextAtMs !== null;
  }

  /** Every choice has its end; only counts may be missing. */
  get isWhole(): boolean {
    return this.#isFinished.every(Boolean);
  }

  /** @throws UpstreamStreamError where the server tells of an error, or the event is none of such a stream */
  push({ name, data }: SseEvent): GenerateEvent[] {
    if (this.#hasEnded || data.trim() === "") return [];
    if (data.trim() === "[DONE]") return this.#endAtMark();
    const value = parsed(data);
    if (value === undefined) {
      if (name === "error") throw saidError({ message: data, type: null, code: null, param: null });
      throw new UpstreamStreamError(`an event of its stream is no JSON (${data.length} characters)`);
    }
    return this.pushChunk(value);
  }

  /** A chunk, or a whole answer. */
  pushChunk(value: unknown): GenerateEvent[] {
    const error = upstreamErrorBody(value);
    if (error !== null) throw saidError(error);
    const chunk = objectOf(value);
    if (chunk === null) throw new UpstreamStreamError("an event of its stream is no JSON object");
    const { choices, usage } = readUpstreamChunk(chunk);
    if (usage !== null) this.#usage = usage;
    const events = this.#start();
    for (const choice of choices) this.#take(choice, events);
    return events;
  }

  /** The bytes have ended. @throws UpstreamStreamError where the answer is not whole */
  end(): GenerateEvent[] {
    if (this.#hasEnded) return [];
    if (!this.isWhole) throw new UpstreamStreamError("its stream ended before the answer did");
    return this.#done();
  }

  #start(): GenerateEvent[] {
    if (this.#hasStarted) return [];
    this.#hasStarted = true;
    const { model, echoed } = this.#options;
    const prompts = (echoed ?? []).map((text, index) => ({ type: "prompt" as const, index, text, tokens: null }));
    return [{ type: "start", model, promptTokens: 0, cachedTokens: 0 }, ...prompts];
  }

  #take(choice: UpstreamChoice, events: GenerateEvent[]): void {
    const { index, finish } = choice;
    // A second end, or text behind it: some servers send their last chunk twice.
    if (this.#isFinished[index] !== false) return;
    const said = this.#saidBy(choice);
    if (said.length > 0) {
      this.#firstTextAtMs ??= this.#options.nowMs();
      this.#numPieces++;
      events.push(...said);
    }
    if (finish === null) return;
    this.#isFinished[index] = true;
    events.push({ type: "finish", index, reason: this.#reasonOf(index, finish.reason), stop: finish.stop });
  }

  /** The logprobs of a chunk with both thoughts and text are given with the text. */
  #saidBy({ index, text, reasoning, calls, tokens }: UpstreamChoice): GenerateEvent[] {
    const wanted = this.#options.wantsLogprobs && tokens !== null && tokens.length > 0 ? tokens : null;
    const isThought = reasoning !== "" && text === "";
    const events: GenerateEvent[] = [];
    if (reasoning !== "") {
      events.push({ type: "reasoning", index, text: reasoning, tokenIds: [], tokens: isThought ? wanted : null });
    }
    if (text !== "" || (wanted !== null && !isThought)) {
      events.push({ type: "delta", index, text, tokenIds: [], tokens: wanted });
    }
    for (const piece of calls) events.push(...this.#calls[index]!.take(piece));
    return events;
  }

  #reasonOf(index: number, reason: FinishReason): FinishReason {
    return reason === "stop" && this.#calls[index]!.numCalls > 0 ? this.#options.callsReason : reason;
  }

  /** The server says that the answer is whole: a choice without a finish ended by itself. */
  #endAtMark(): GenerateEvent[] {
    if (!this.#hasStarted) throw new UpstreamStreamError("its stream ended before the answer began");
    const events: GenerateEvent[] = [];
    for (const [index, isFinished] of this.#isFinished.entries()) {
      if (!isFinished) events.push({ type: "finish", index, reason: this.#reasonOf(index, "stop"), stop: null });
    }
    this.#isFinished.fill(true);
    return [...events, ...this.#done()];
  }

  #done(): GenerateEvent[] {
    this.#hasEnded = true;
    return [{ type: "done", usage: this.#usageSoFar(), timings: this.#timings() }];
  }

  #usageSoFar(): Usage {
    const reasoningTokens = this.#usage?.reasoningTokens ?? null;
    return {
      promptTokens: this.#usage?.promptTokens ?? 0,
      completionTokens: this.#usage?.completionTokens ?? this.#numPieces,
      cachedTokens: this.#usage?.cachedTokens ?? 0,
      ...(reasoningTokens !== null && { reasoningTokens }),
    };
  }

  #timings(): Timings {
    const nowMs = this.#options.nowMs();
    const ttftMs = (this.#firstTextAtMs ?? nowMs) - this.#startedAtMs;
    return { queueMs: 0, ttftMs, totalMs: nowMs - this.#startedAtMs };
  }
}

function parsed(data: string): unknown {
  try {
    return JSON.parse(data);
  } catch {
    return undefined;
  }
}

function saidError(said: NonNullable<UpstreamStreamError["said"]>): UpstreamStreamError {
  return new UpstreamStreamError("it tells of an error in its stream", said);
}
