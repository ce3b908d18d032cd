/**
 * Metrics of all isolates together: one Durable Object. Isolates share no memory and live for minutes; what this one knows
 * lies in its storage, a row for each report and one for the history. Writes are not waited for.
 */
import { DurableObject } from "cloudflare:workers";
import type { Env } from "../env.ts";
import { exposition } from "./exposition.ts";
import { type HistoryPoint, withReport } from "./history.ts";
import { applyReport, emptyHub, gaugeSamples, type HubState, type IsolateReport } from "./hub-state.ts";

const STATE = "state";
const HISTORY = "history";

export class MetricsHub extends DurableObject<Env> {
  #state: HubState = emptyHub();
  #history: HistoryPoint[] = [];

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    ctx.blockConcurrencyWhile(async () => {
      this.#state = (await ctx.storage.get<HubState>(STATE)) ?? emptyHub();
      this.#history = (await ctx.storage.get<HistoryPoint[]>(HISTORY)) ?? [];
    });
  }

  report(report: IsolateReport): void {
    const nowMs = Date.now();
    const isKnown = report.number <= (this.#state.isolates[report.isolate]?.number ?? 0);
    applyReport(this.#state, report, nowMs);
    if (isKnown) return;
    this.#history = withReport(this.#history, report.counted, this.#state, nowMs);
    const rows = { [STATE]: this.#state, [HISTORY]: this.#history };
    this.ctx.waitUntil(this.ctx.storage.put(rows, { allowUnconfirmed: true }));
  }

  /** In Prometheus's text format. */
  text(version: string): string {
    return exposition(this.#state.total, gaugeSamples(this.#state, version, Date.now()));
  }

  /** Oldest first. */
  history(): HistoryPoint[] {
    return this.#history;
  }
}
