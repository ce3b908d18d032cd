/** What an engine counts itself, taken over as differences: it begins at zero again after it was lost. */
import type { GenerateRequest } from "../protocol/generate.ts";
import type { EngineStats } from "../serving/language-model.ts";
import { AdapterMeter } from "./adapter-meter.ts";
import type { EngineState } from "./messages.ts";
import type { OriginMetrics } from "./metrics.ts";
import { RequestMeter } from "./request-meter.ts";

/** Of an engine; 0 where there is none. */
const GAUGES = ["running", "waiting", "kvUsage", "kvWaste", "engineUp"] as const;

type Count = { [Name in keyof EngineStats]: EngineStats[Name] extends number ? Name : never }[keyof EngineStats];

export class ModelMeter {
  readonly #metrics: OriginMetrics;
  readonly #label: { model_name: string };
  readonly #nowMs: () => number;
  readonly #adapters: AdapterMeter;
  #last: EngineStats | null = null;

  /**
   * @param nowMs only differences count
   * @param adapters names of those that requests may name
   */
  constructor(metrics: OriginMetrics, modelId: string, nowMs: () => number, adapters: readonly string[] = []) {
    this.#metrics = metrics;
    this.#label = { model_name: modelId };
    this.#nowMs = nowMs;
    this.#adapters = new AdapterMeter(metrics, modelId, adapters);
    for (const gauge of GAUGES) metrics[gauge].set(this.#label, 0);
    // Counters that were never counted are shown, too: a rate needs a first value.
    const { promptTokens, generationTokens, restarts, resent, preemptions, prefixQueries, prefixHits } = metrics;
    for (const counter of [promptTokens, generationTokens, restarts, resent, preemptions, prefixQueries, prefixHits]) {
      counter.inc(this.#label, 0);
    }
  }

  arrived(request: GenerateRequest): RequestMeter {
    return new RequestMeter(this.#metrics, this.#label, this.#nowMs, request, this.#adapters);
  }

  /** What a new engine counted while it warmed up is nobody's. */
  engineReady({ stats }: EngineState, kvPrecision: string): void {
    this.#last = stats;
    const { numBlocks, blockTokens } = stats;
    const info = { block_size: blockTokens, num_gpu_blocks: numBlocks, cache_dtype: kvPrecision };
    this.#metrics.cacheInfo.set({ ...this.#label, ...info }, 1);
  }

  engineState({ stats, stepTokens }: EngineState): void {
    const metrics = this.#metrics;
    const label = this.#label;
    // A counter that is asked to decrease throws, and a number that is off must not cost an answer.
    const since = (name: Count) => Math.max(0, stats[name] - (this.#last?.[name] ?? 0));
    metrics.engineUp.set(label, 1);
    metrics.running.set(label, stats.numRunning);
    metrics.waiting.set(label, stats.numWaiting);
    metrics.kvUsage.set(label, 1 - stats.numFreeBlocks / stats.numBlocks);
    metrics.kvWaste.set(label, wasteOf(stats));
    metrics.prefixQueries.inc(label, since("prefixQueriedTokens"));
    metrics.prefixHits.inc(label, since("prefixHitTokens"));
    metrics.preemptions.inc(label, since("numPreemptions"));
    metrics.drafts.inc(label, since("numDrafts"));
    metrics.draftTokens.inc(label, since("numDraftedTokens"));
    metrics.acceptedTokens.inc(label, since("numAcceptedTokens"));
    for (const [position, numAccepted] of stats.numAcceptedAt.entries()) {
      const before = this.#last?.numAcceptedAt[position] ?? 0;
      metrics.acceptedAt.inc({ ...label, position }, Math.max(0, numAccepted - before));
    }
    for (const numTokens of stepTokens) metrics.iterationTokens.observe(label, numTokens);
    metrics.steps.inc(label, since("numSteps"));
    metrics.stepTokens.inc(label, since("numStepTokens"));
    this.#last = stats;
  }

  engineLost(): void {
    for (const gauge of GAUGES) this.#metrics[gauge].set(this.#label, 0);
    this.#metrics.restarts.inc(this.#label);
    this.#last = null;
  }
}

/** As the PagedAttention paper has it: reserved for tokens to come, and left over in last blocks. */
function wasteOf({ numUnusedSlots, numBlocks, numFreeBlocks, blockTokens }: EngineStats): number {
  const numHeld = (numBlocks - numFreeBlocks) * blockTokens;
  return numHeld === 0 ? 0 : numUnusedSlots / numHeld;
}
