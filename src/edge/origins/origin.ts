/**
 * What this isolate knows of an origin. It outlives requests and is shared by the Worker and all objects in the isolate,
 * so it is plain data: no stream, no promise, no binding. Each isolate learns by itself; there is nobody who knows all.
 */
import type { Clock } from "../../api/clock.ts";
import { CircuitBreaker } from "./circuit-breaker.ts";
import type { OriginConfig, OriginModelConfig } from "./config.ts";
import { InFlight } from "./in-flight.ts";

export class Origin {
  readonly config: OriginConfig;
  readonly breaker = new CircuitBreaker();
  readonly inFlight: InFlight;
  /** It asked to be left alone until then (`Retry-After`). */
  restUntilMs = 0;

  constructor(config: OriginConfig, clock: Clock) {
    this.config = config;
    this.inFlight = new InFlight(() => clock.nowMs());
  }

  get name(): string {
    return this.config.name;
  }

  get weight(): number {
    return this.config.weight;
  }

  get numInFlight(): number {
    return this.inFlight.count;
  }

  /** Knows vLLM's `cache_salt` and `continue_final_message`. */
  get knowsExtras(): boolean {
    return this.config.kind === "runnel" || this.config.kind === "vllm";
  }

  isAvailable(nowMs: number): boolean {
    return nowMs >= this.restUntilMs && this.breaker.admits(nowMs);
  }

  /** When it may be available again. */
  availableAtMs(nowMs: number): number {
    return Math.max(this.restUntilMs, this.breaker.dueAtMs ?? nowMs, nowMs);
  }

  rest(untilMs: number): void {
    this.restUntilMs = Math.max(this.restUntilMs, untilMs);
  }
}

/** A model that clients may name, and who has it. */
export interface OriginModel {
  id: string;
  places: readonly OriginPlace[];
  contextLength: number | null;
  description: string | null;
  /** Model of the edge that answers where no origin can. */
  fallback: string | null;
}

export interface OriginPlace {
  origin: Origin;
  /** The model's name there. */
  upstreamModel: string;
}

/** @param origins in the order of the configuration, which the list of models keeps */
export function modelsOf(origins: readonly Origin[]): OriginModel[] {
  const byId = new Map<string, { origin: Origin; model: OriginModelConfig }[]>();
  for (const origin of origins) {
    for (const model of origin.config.models) byId.set(model.id, [...(byId.get(model.id) ?? []), { origin, model }]);
  }
  return [...byId].map(([id, entries]) => {
    const lengths = entries.flatMap(({ model }) => model.contextLength ?? []);
    return {
      id,
      places: entries.map(({ origin, model }) => ({ origin, upstreamModel: model.upstream ?? id })),
      // What is promised must hold wherever the request goes.
      contextLength: lengths.length === 0 ? null : Math.min(...lengths),
      description: entries.find(({ model }) => model.description !== undefined)?.model.description ?? null,
      fallback: entries.find(({ model }) => model.fallback !== undefined)?.model.fallback ?? null,
    };
  });
}
