/**
 * Measures requests as their events arrive, with one clock of one process: an engine's own clock is never compared with
 * it. What an engine counts itself is taken over as differences, since it begins at zero again after it was lost.
 */
import type { ApiError } from "../protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import type { EngineStats } from "../serving/language-model.ts";
import type { EngineState } from "./messages.ts";
import type { OriginMetrics } from "./metrics.ts";

export class ModelMeter {
  readonly #metrics: OriginMetrics;
  readonly #label: { model_name: string };
  readonly #nowMs: () => number;
  #last: EngineStats | null = null;

  /** @param nowMs only differences count */
  constructor(metrics: OriginMetrics, modelId: string, nowMs: () => number) {
    this.#metrics = metrics;
    this.#label = { model_name: modelId };
    this.#nowMs = nowMs;
    for (const gauge of [metrics.running, metrics.waiting, metrics.kvUsage, metrics.engineUp])
      gauge.set(this.#label, 0);
    // Counters that were never counted are shown, too: a rate needs a first value.
    const { promptTokens, generationTokens, restarts, preemptions, prefixQueries, prefixHits } = metrics;
    for (const counter of [promptTokens, generationTokens, restarts, preemptions, prefixQueries, prefixHits]) {
      counter.inc(this.#label, 0);
    }
  }

  arrived(request: GenerateRequest): RequestMeter {
    return new RequestMeter(this.#metrics, this.#label, this.#nowMs, request);
  }

  /** What a new engine counted while it warmed up is nobody's. */
  engineReady({ stats }: EngineState): void {
    this.#last = stats;
  }

  engineState({ stats }: EngineState): void {
    const metrics = this.#metrics;
    const label = this.#label;
    // A counter that is asked to decrease throws, and a number that is off must not cost an answer.
    const since = (name: keyof EngineStats) => Math.max(0, stats[name] - (this.#last?.[name] ?? 0));
    metrics.engineUp.set(label, 1);
    metrics.running.set(label, stats.numRunning);
    metrics.waiting.set(label, stats.numWaiting);
    metrics.kvUsage.set(label, 1 - stats.numFreeBlocks / stats.numBlocks);
    metrics.prefixQueries.inc(label, since("prefixQueriedTokens"));
    metrics.prefixHits.inc(label, since("prefixHitTokens"));
    metrics.preemptions.inc(label, since("numPreemptions"));
    metrics.draftTokens.inc(label, since("numDraftedTokens"));
    metrics.acceptedTokens.inc(label, since("numAcceptedTokens"));
    metrics.steps.inc(label, since("numSteps"));
    metrics.stepTokens.inc(label, since("numStepTokens"));
    this.#last = stats;
  }

  engineLost(): void {
    const { running, waiting, kvUsage, engineUp, restarts } = this.#metrics;
    for (const gauge of [running, waiting, kvUsage, engineUp]) gauge.set(this.#label, 0);
    restarts.inc(this.#label);
    this.#last = null;
  }
}

/** One request from its arrival to its end; exactly one of `refused`, `failed`, `aborted` and a last event ends it. */
export class RequestMeter {
  readonly #metrics: OriginMetrics;
  readonly #label: { model_name: string };
  readonly #nowMs: () => number;
  readonly #request: GenerateRequest;
  readonly #arrivedAtMs: number;
  #startedAtMs: number | null = null;
  #firstTokenAtMs: number | null = null;
  #lastTokenAtMs = 0;
  /** Of each choice. */
  readonly #tokenAtMs = new Map<number, number>();
  #numPromptTokens = 0;
  #numTokens = 0;

  constructor(metrics: OriginMetrics, label: { model_name: string }, nowMs: () => number, request: GenerateRequest) {
    this.#metrics = metrics;
    this.#label = label;
    this.#nowMs = nowMs;
    this.#request = request;
    this.#arrivedAtMs = nowMs();
  }

  observe(event: GenerateEvent): void {
    const { promptTokens, succeeded } = this.#metrics;
    if (event.type === "start") {
      this.#startedAtMs = this.#nowMs();
      this.#numPromptTokens = event.promptTokens;
      promptTokens.inc(this.#label, event.promptTokens);
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
    } else if (event.type === "error") {
      this.#metrics.failed.inc({ ...this.#label, code: event.code ?? "none" });
    }
  }

  refused({ code }: ApiError): void {
    this.#metrics.refused.inc({ ...this.#label, code: code ?? "none" });
  }

  failed({ code }: ApiError): void {
    this.#metrics.failed.inc({ ...this.#label, code: code ?? "none" });
  }

  /** Its client went away. */
  aborted(): void {
    this.#metrics.succeeded.inc({ ...this.#label, finished_reason: "abort" });
  }

  #token(index: number, numTokens: number): void {
    const nowMs = this.#nowMs();
    const { firstToken, betweenTokens } = this.#metrics;
    if (this.#firstTokenAtMs === null) {
      this.#firstTokenAtMs = nowMs;
      firstToken.observe(this.#label, seconds(nowMs - this.#arrivedAtMs));
    }
    const before = this.#tokenAtMs.get(index);
    if (before !== undefined) betweenTokens.observe(this.#label, seconds(nowMs - before));
    this.#tokenAtMs.set(index, nowMs);
    this.#lastTokenAtMs = nowMs;
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
    if (this.#firstTokenAtMs !== null) {
      metrics.prefill.observe(label, seconds(this.#firstTokenAtMs - startedAtMs));
      metrics.decode.observe(label, seconds(this.#lastTokenAtMs - this.#firstTokenAtMs));
    }
    metrics.requestPrompt.observe(label, this.#numPromptTokens);
    metrics.requestGeneration.observe(label, this.#numTokens);
    metrics.paramsN.observe(label, this.#request.n);
    if (this.#request.maxTokens !== null) metrics.paramsMaxTokens.observe(label, this.#request.maxTokens);
  }
}

function seconds(ms: number): number {
  return ms / 1000;
}
