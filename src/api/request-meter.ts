/**
 * Measures one generation as its events arrive, with one clock (`token-times.ts`). On a deployed Worker that clock moves
 * when something arrives, which is when it is read here.
 */
import type { FinishReason, GenerateEvent } from "../protocol/generate.ts";
import { TokenTimes } from "./token-times.ts";

/** "client": the connection went away; "stop": somebody stopped the answer. */
export type AbortedBy = "client" | "stop";

export interface GenerationSummary {
  /** The one that answered; null = it never began to. */
  model: string | null;
  /** Where: "edge" or "origin"; null where a host does not tell. */
  tier: string | null;
  promptTokens: number;
  /** Of them, those that the prefix cache had. */
  cachedTokens: number;
  completionTokens: number;
  /** From the arrival to the first step. */
  queueMs: number | null;
  /** From the arrival to the first token. */
  ttftMs: number | null;
  /** From the first step to the first token. */
  prefillMs: number | null;
  /** From the first token to the last. */
  decodeMs: number | null;
  totalMs: number;
  /** One for each choice that ended. */
  finishReasons: FinishReason[];
  abortedBy: AbortedBy | null;
  /** Of what it failed with, or was refused with. */
  errorCode: string | null;
}

export interface MeterOptions {
  /** null = the first event tells. */
  model: string | null;
  tier?: string | null;
  nowMs: () => number;
  arrivedAtMs: number;
  /** False = it goes on after a fault, so that times mean nothing. */
  isTimed?: boolean;
  /** From a choice's token to its next; tokens that come together count once. */
  betweenTokens?: (gapMs: number) => void;
}

export class RequestMeter {
  readonly #options: MeterOptions;
  readonly #summary: GenerationSummary;
  #startedAtMs: number | null = null;
  readonly #tokens = new TokenTimes();
  #hasEnded = false;
  #resolve: (summary: GenerationSummary) => void = () => {};
  /** Never rejects. */
  readonly ended: Promise<GenerationSummary>;

  constructor(options: MeterOptions) {
    this.#options = options;
    this.#summary = {
      model: options.model,
      tier: options.tier ?? null,
      promptTokens: 0,
      cachedTokens: 0,
      completionTokens: 0,
      queueMs: null,
      ttftMs: null,
      prefillMs: null,
      decodeMs: null,
      totalMs: 0,
      finishReasons: [],
      abortedBy: null,
      errorCode: null,
    };
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** As far as it is known: final once it has ended. */
  get summary(): Readonly<GenerationSummary> {
    return this.#summary;
  }

  /** Who answers, which may be another one than was asked for. */
  answeredBy(model: string, tier: string | null): void {
    this.#summary.model = model;
    this.#summary.tier = tier;
  }

  observe(event: GenerateEvent): void {
    if (this.#hasEnded) return;
    // An origin gives no ids, and about one token at a time.
    if ("tokenIds" in event) this.#came(event.index, event.tokenIds.length || 1);
    else if (event.type === "start") {
      this.#startedAtMs = this.#options.nowMs();
      this.#summary.model ??= event.model;
      this.#summary.promptTokens = event.promptTokens;
      this.#summary.cachedTokens = event.cachedTokens;
    } else if (event.type === "finish") this.#summary.finishReasons.push(event.reason);
    else if (event.type === "done") {
      const { promptTokens, cachedTokens, completionTokens } = event.usage;
      // Tokens that ended a choice are in no delta.
      Object.assign(this.#summary, { promptTokens, cachedTokens, completionTokens });
      this.#end();
    } else if (event.type === "error") this.failed(event.code);
  }

  failed(code: string | null): void {
    if (this.#hasEnded) return;
    this.#summary.errorCode = code ?? "unknown";
    this.#end();
  }

  aborted(by: AbortedBy): void {
    if (this.#hasEnded) return;
    this.#summary.abortedBy = by;
    this.#end();
  }

  #came(index: number, numTokens: number): void {
    const gapMs = this.#tokens.came(index, this.#options.nowMs());
    if (gapMs !== null && this.#options.isTimed !== false) this.#options.betweenTokens?.(Math.max(0, gapMs));
    this.#summary.completionTokens += numTokens;
  }

  #end(): void {
    this.#hasEnded = true;
    const { arrivedAtMs, nowMs, isTimed } = this.#options;
    const summary = this.#summary;
    if (isTimed !== false) {
      const startedAtMs = this.#startedAtMs;
      const { firstAtMs, lastAtMs } = this.#tokens;
      summary.totalMs = elapsed(arrivedAtMs, nowMs());
      if (startedAtMs !== null) summary.queueMs = elapsed(arrivedAtMs, startedAtMs);
      if (firstAtMs !== null) {
        summary.ttftMs = elapsed(arrivedAtMs, firstAtMs);
        summary.prefillMs = startedAtMs === null ? null : elapsed(startedAtMs, firstAtMs);
        summary.decodeMs = elapsed(firstAtMs, lastAtMs);
      }
    }
    this.#resolve(summary);
  }
}

/** A wall clock may be set back. */
function elapsed(fromMs: number, toMs: number): number {
  return Math.max(0, toMs - fromMs);
}
