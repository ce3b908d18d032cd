/**
 * A generation by whichever origin can. It goes from one to another as long as nothing of the answer was given out; the
 * first token settles it, and what fails then is the client's to see.
 */
import { randomHexId } from "../../api/random-id.ts";
import { clientClosedRequest } from "../../protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../../protocol/generate.ts";
import { echoedTexts, encodeUpstreamRequest } from "../../protocol/openai/upstream-request.ts";
import type { OriginModel, OriginPlace } from "./origin.ts";
import { OriginCall } from "./origin-call.ts";
import { OriginChoice } from "./origin-choice.ts";
import { OriginFailure } from "./origin-failure.ts";
import type { OriginHost } from "./origin-host.ts";
import { workersAiRefusal } from "./workers-ai.ts";

export interface OriginAsk {
  model: OriginModel;
  request: GenerateRequest;
  /** See `OriginWish`. */
  affinityKey: string;
  /** Words of the answer that are there already; null = a new answer. */
  answerSoFar: string | null;
}

export class OriginGeneration {
  readonly #host: OriginHost;
  readonly #ask: OriginAsk;
  readonly #choice: OriginChoice;
  #call: OriginCall | null = null;
  #origin = "";
  #hasStarted = false;
  /** Some of the answer was given out. */
  #isSettled = false;
  #isAborted = false;

  constructor(host: OriginHost, ask: OriginAsk) {
    this.#host = host;
    this.#ask = ask;
    const { model, affinityKey, answerSoFar } = ask;
    this.#choice = new OriginChoice({ model, affinityKey, needsExtras: answerSoFar !== null }, host);
  }

  /**
   * Until an origin has taken the request.
   *
   * @param last why the one before did not answer
   * @throws ApiError where none takes it
   */
  async open(last: OriginFailure | null = null): Promise<void> {
    for (let failure = last; ; ) {
      const place = await this.#choice.next();
      this.#assertWanted();
      if (place === null) throw failure?.error ?? this.#choice.noneLeft();
      this.#call = this.#callTo(place);
      this.#origin = place.origin.name;
      try {
        return await this.#call.open();
      } catch (cause) {
        this.#assertWanted();
        failure = this.#retryable(cause);
      }
    }
  }

  /** Events that are ready, waiting for the first; empty after the last, or after an abort. @throws ApiError */
  async nextEvents(): Promise<GenerateEvent[]> {
    while (!this.#isAborted) {
      try {
        const events = await this.#call!.nextEvents();
        const news = this.#newsOf(events);
        if (events.length === 0 || news.length > 0) return news;
      } catch (cause) {
        if (this.#isAborted) break;
        const failure = this.#retryable(cause);
        if (this.#isSettled) throw failure.error;
        await this.open(failure);
      }
    }
    return [];
  }

  /** All events up to the first token or end: from there on no other origin will be tried. @throws ApiError */
  async firstEvents(): Promise<GenerateEvent[]> {
    const first: GenerateEvent[] = [];
    while (!this.#isSettled) {
      const events = await this.nextEvents();
      if (events.length === 0) break;
      first.push(...events);
    }
    return first;
  }

  /** Closes the connection to the origin, which stops generating. Safe any number of times. */
  abort(): void {
    this.#isAborted = true;
    this.#call?.abort();
  }

  #assertWanted(): void {
    if (this.#isAborted) throw clientClosedRequest();
  }

  /** Without the beginning that an origin before has given already. */
  #newsOf(events: GenerateEvent[]): GenerateEvent[] {
    const isBeginning = ({ type }: GenerateEvent) => type === "start" || type === "prompt";
    const news = this.#hasStarted ? events.filter((event) => !isBeginning(event)) : events;
    if (events.length > 0) this.#hasStarted = true;
    if (news.some((event) => !isBeginning(event))) this.#isSettled = true;
    return news;
  }

  /** @throws ApiError where another origin would say the same */
  #retryable(cause: unknown): OriginFailure {
    if (!(cause instanceof OriginFailure)) throw cause;
    const { requestId } = this.#ask.request;
    if (cause.isFault) {
      this.#host.log({ level: "error", event: "origin_failed", requestId, origin: this.#origin, cause: cause.message });
    }
    if (!cause.isRetryable) throw cause.error;
    return cause;
  }

  #callTo({ origin, upstreamModel }: OriginPlace): OriginCall {
    const { model, request, answerSoFar } = this.#ask;
    const refusal = origin.config.kind === "workers-ai" ? workersAiRefusal(request) : null;
    if (refusal !== null) throw refusal;
    const { clock } = this.#host;
    const echoed = echoedTexts(request)?.flatMap((text) => new Array<string>(request.n).fill(text)) ?? null;
    return new OriginCall({
      origin,
      upstream: this.#host.upstreamOf(origin),
      call: encodeUpstreamRequest(request, {
        model: upstreamModel,
        knowsCacheSalt: origin.knowsExtras,
        answerSoFar,
      }),
      requestId: request.requestId,
      events: {
        model: model.id,
        numChoices: request.prompts.length * request.n,
        wantsLogprobs: request.logprobs !== null,
        echoed,
        callsReason: typeof request.toolChoice === "object" ? "stop" : "tool_calls",
        newCallId: () => `call_${randomHexId()}`,
        nowMs: () => clock.nowMs(),
      },
      clock,
    });
  }
}
