/** Measures a request as its events arrive, for the metrics of this server. */
import { TokenTimes } from "../api/token-times.ts";
import type { ApiError } from "../protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import type { AdapterMeter } from "./adapter-meter.ts";
import type { OriginMetrics } from "./metrics.ts";

/** One request from its arrival to its end; exactly one of `refused`, `failed`, `aborted` and a last event ends it. */
export class RequestMeter {
  readonly #metrics: OriginMetrics;
  readonly #label: { model_name: string };
  readonly #nowMs: () => number;
  readonly #request: GenerateRequest;
  readonly #adapters: AdapterMeter;
  readonly #arrivedAtMs: number;
  #startedAtMs: number | null = null;
  readonly #tokens = new TokenTimes();
  /** Of each choice. */
  readonly #choiceTokens = new Map<number, number>();
  #numPromptTokens = 0;
  #numTokens = 0;

  constructor(
    metrics: OriginMetrics,
    label: { model_name: string },
    nowMs: () => number,
    request: GenerateRequest,
    adapters: AdapterMeter,
  ) {
    this.#metrics = metrics;
    this.#label = label;
    this.#nowMs = nowMs;
    this.#request = request;
    this.#arrivedAtMs = nowMs();
    this.#adapters = adapters;
    adapters.waits(request.model);
  }

  observe(event: GenerateEvent): void {
    const { promptTokens, succeeded } = this.#metrics;
    if (event.type === "start") {
      this.#startedAtMs = this.#nowMs();
      this.#numPromptTokens = event.promptTokens;
      promptTokens.inc(this.#label, event.promptTokens);
      this.#adapters.runs(this.#request.model);
    } else if (event.type === "delta" || event.type === "reasoning") {
      this.#token(event.index, event.tokenIds.length);
    } else if (event.type === "toolCall" || event.type === "toolArguments") {
      // Their tokens are counted at the end, with those that are in no event.
      this.#token(event.index, 0);
    } else if (event.type === "finish") {
      succeeded.inc({ ...this.#label, finished_reason: event.reason });
    } else if (event.type === "done") {
      // Tokens that ended a choice or made a call are in no delta.
      this.#count(Math.max(0, event.usage.completionTokens - this.#numTokens));
      this.#finished();
      this.#leave();
    } else if (event.type === "error") {
      this.#metrics.failed.inc({ ...this.#label, code: event.code ?? "none" });
      this.#leave();
    }
  }

  /** To another engine, the one that had it being lost. */
  sentAgain(): void {
    this.#metrics.resent.inc(this.#label);
  }

  refused({ code }: ApiError): void {
    this.#metrics.refused.inc({ ...this.#label, code: code ?? "none" });
    this.#leave();
  }

  failed({ code }: ApiError): void {
    this.#metrics.failed.inc({ ...this.#label, code: code ?? "none" });
    this.#leave();
  }

  /** Its client went away. */
  aborted(): void {
    this.#metrics.succeeded.inc({ ...this.#label, finished_reason: "abort" });
    this.#leave();
  }

  #leave(): void {
    this.#adapters.leaves(this.#request.model, this.#startedAtMs !== null);
  }

  #token(index: number, numTokens: number): void {
    const nowMs = this.#nowMs();
    const { firstToken, betweenTokens } = this.#metrics;
    if (this.#tokens.firstAtMs === null) firstToken.observe(this.#label, seconds(nowMs - this.#arrivedAtMs));
    const gapMs = this.#tokens.came(index, nowMs);
    if (gapMs !== null) betweenTokens.observe(this.#label, seconds(gapMs));
    this.#choiceTokens.set(index, numTokens + (this.#choiceTokens.get(index) ?? 0));
    this.#count(numTokens);
  }

  #count(numTokens: number): void {
    this.#numTokens += numTokens;
    this.#metrics.generationTokens.inc(this.#label, numTokens);
  }

  #finished(): void {
    const metrics = this.#metrics;
    const label = this.#label;
    const nowMs = this.#nowMs();
    const startedAtMs = this.#startedAtMs ?? nowMs;
    metrics.whole.observe(label, seconds(nowMs - this.#arrivedAtMs));
    metrics.queue.observe(label, seconds(startedAtMs - this.#arrivedAtMs));
    metrics.inference.observe(label, seconds(nowMs - startedAtMs));
    const { firstAtMs, lastAtMs } = this.#tokens;
    if (firstAtMs !== null) {
      metrics.prefill.observe(label, seconds(firstAtMs - startedAtMs));
      metrics.decode.observe(label, seconds(lastAtMs - firstAtMs));
    }
    metrics.requestPrompt.observe(label, this.#numPromptTokens);
    metrics.requestGeneration.observe(label, this.#numTokens);
    // Of several choices nobody says which one a token belongs to that ended one and is in no delta.
    const numMost = this.#choiceTokens.size > 1 ? Math.max(...this.#choiceTokens.values()) : this.#numTokens;
    metrics.requestMostGeneration.observe(label, numMost);
    metrics.paramsN.observe(label, this.#request.n);
    if (this.#request.maxTokens !== null) metrics.paramsMaxTokens.observe(label, this.#request.maxTokens);
  }
}

function seconds(ms: number): number {
  return ms / 1000;
}
