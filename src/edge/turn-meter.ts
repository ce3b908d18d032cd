/**
 * Counts the answers of a session where they are made, so that they are counted once, whoever reads them: its tokens, its
 * times by the clock of the object, and what it took off its key's limits after all.
 */
import type { SessionTurnRequest } from "../api/model-service.ts";
import { RequestMeter } from "../api/request-meter.ts";
import type { GenerateEvent } from "../protocol/generate.ts";
import type { Env } from "./env.ts";
import { settle } from "./limits/edge-limits.ts";
import { edgeObserver, isolateMetrics } from "./metrics/isolate-metrics.ts";
import { answererOf } from "./turn-admission.ts";
import type { StoredTurn } from "./turn-store.ts";

/** What a turn was asked with. */
export interface AskedTurn extends Pick<SessionTurnRequest, "charge"> {
  arrivedAtMs: number;
}

export class TurnMeter {
  readonly #meter: RequestMeter;
  /** Once: it runs by now. */
  #tellBegun: () => void;

  /** @param asked null = it goes on after a fault: it has its tokens counted, and no times */
  constructor(ctx: DurableObjectState, env: Env, { modelKey }: StoredTurn, asked: AskedTurn | null) {
    const { model, tier } = answererOf(modelKey);
    const observer = edgeObserver(env);
    const nowMs = () => Date.now();
    const tell = () => {
      isolateMetrics.engineMoved();
      ctx.waitUntil(observer.flush());
    };
    this.#meter = new RequestMeter({
      model,
      tier,
      nowMs,
      arrivedAtMs: asked?.arrivedAtMs ?? nowMs(),
      isTimed: asked !== null,
      betweenTokens: (gapMs) => observer.betweenTokens(model, tier, gapMs),
    });
    this.#tellBegun = tell;
    this.#meter.ended.then((summary) => {
      observer.generationEnded(summary);
      tell();
      const { promptTokens, completionTokens } = summary;
      const charge = asked?.charge;
      if (charge) ctx.waitUntil(settle(env, charge.keyId, charge.numTokens, promptTokens + completionTokens));
    });
  }

  observe(events: readonly GenerateEvent[]): void {
    for (const event of events) this.#meter.observe(event);
    this.#tellBegun();
    this.#tellBegun = () => {};
  }

  /** It is over, also where none of its events said so. */
  ended(last: GenerateEvent | undefined): void {
    if (last?.type === "error") this.#meter.failed(last.code);
    this.#meter.aborted("stop");
  }
}
