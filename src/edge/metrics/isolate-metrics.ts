/**
 * What this isolate has counted and not yet passed on. No timer: the end of a request sends it, and while one report is
 * under way what is counted meanwhile waits for the next, so a busy isolate sends a few reports a second, whatever its load.
 *
 * A report that got no answer is sent again as it was, under its number, and the hub takes a number once: nothing is
 * counted twice. What is lost with an isolate is what it counted since its last report.
 */
import type { RequestObserver } from "../../api/observer.ts";
import { randomHexId } from "../../api/random-id.ts";
import type { Env } from "../env.ts";
import { isolateEngine } from "../isolate-engine.ts";
import { HUB_NAME, type IsolateReport } from "./hub-state.ts";
import { emptyMetrics, isEmpty, type MetricsData } from "./metrics-data.ts";
import { countGeneration, countRequest, observeGap } from "./request-metrics.ts";

/** Whoever sent a report may be cut off before the answer; then the next one sends it again. */
const REPORT_TIMEOUT_MS = 10_000;
/** Reports that one request's end sends in a row; the next request's end sends the rest. */
const REPORTS_MAX = 3;

class IsolateMetrics {
  /** Made with the first report: a Worker's global scope has no randomness. */
  #isolateId: string | null = null;
  #counted = emptyMetrics();
  #unsent: IsolateReport | null = null;
  #numReports = 0;
  #reportingSinceMs: number | null = null;
  /** Something of the engine has changed since the last report. */
  #isEngineMoved = false;

  get data(): MetricsData {
    return this.#counted;
  }

  /** A sequence came or went here. */
  engineMoved(): void {
    this.#isEngineMoved = true;
  }

  /** Never rejects: a number that is missing must not cost an answer. */
  async flush(env: Pick<Env, "METRICS_HUB">): Promise<void> {
    const nowMs = Date.now();
    if (this.#reportingSinceMs !== null && nowMs - this.#reportingSinceMs < REPORT_TIMEOUT_MS) return;
    this.#reportingSinceMs = nowMs;
    try {
      for (let i = 0; i < REPORTS_MAX; i++) {
        const report = this.#next();
        if (report === null) break;
        await env.METRICS_HUB.getByName(HUB_NAME).report(report);
        if (this.#unsent === report) this.#unsent = null;
      }
    } catch (cause) {
      console.error("The metrics of an isolate could not be passed on; they will be with the next request:", cause);
    } finally {
      this.#reportingSinceMs = null;
    }
  }

  #next(): IsolateReport | null {
    if (this.#unsent !== null) return this.#unsent;
    if (isEmpty(this.#counted) && !this.#isEngineMoved) return null;
    this.#isolateId ??= randomHexId();
    const number = ++this.#numReports;
    this.#unsent = { isolate: this.#isolateId, number, counted: this.#counted, engines: isolateEngine.occupancy() };
    this.#counted = emptyMetrics();
    this.#isEngineMoved = false;
    return this.#unsent;
  }
}

export const isolateMetrics = new IsolateMetrics();

export function edgeObserver(env: Pick<Env, "METRICS_HUB">): RequestObserver {
  return {
    betweenTokens: (model, tier, gapMs) => observeGap(isolateMetrics.data, model, tier, gapMs),
    generationEnded: (summary) => countGeneration(isolateMetrics.data, summary),
    requestEnded: (request) => countRequest(isolateMetrics.data, request),
    flush: () => isolateMetrics.flush(env),
  };
}
