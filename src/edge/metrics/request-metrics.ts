/** From what is known of requests and generations to what is counted of them. Pure. */
import type { EndedRequest } from "../../api/observer.ts";
import type { GenerationSummary } from "../../api/request-meter.ts";
import type { HistogramName } from "./catalog.ts";
import { count, type MetricsData, observe } from "./metrics-data.ts";

const NO_TIER = "edge";

export function countRequest(data: MetricsData, { route, status, model }: EndedRequest): void {
  count(data, "edge_requests_total", [route, model ?? "", String(status)]);
}

export function observeGap(data: MetricsData, model: string, tier: string | null, gapMs: number): void {
  observe(data, "edge_inter_token_latency_seconds", [model, tier ?? NO_TIER], gapMs / 1000);
}

export function countGeneration(data: MetricsData, summary: GenerationSummary): void {
  const labels = [summary.model ?? "", summary.tier ?? NO_TIER];
  count(data, "edge_prompt_tokens_total", labels, summary.promptTokens);
  count(data, "edge_generation_tokens_total", labels, summary.completionTokens);
  count(data, "edge_prefix_cache_queries_total", labels, summary.promptTokens);
  count(data, "edge_prefix_cache_hits_total", labels, summary.cachedTokens);
  for (const reason of summary.finishReasons) count(data, "edge_request_success_total", [...labels, reason]);
  if (summary.abortedBy !== null) count(data, "edge_request_aborted_total", [...labels, summary.abortedBy]);
  if (summary.errorCode !== null) count(data, "edge_request_failed_total", [...labels, summary.errorCode]);

  const time = (name: HistogramName, ms: number | null) => {
    if (ms !== null) observe(data, name, labels, ms / 1000);
  };
  time("edge_time_to_first_token_seconds", summary.ttftMs);
  time("edge_queue_duration_seconds", summary.queueMs);
  time("edge_prefill_duration_seconds", summary.prefillMs);
  time("edge_decode_duration_seconds", summary.decodeMs);
  // Of a whole answer only: one that was cut says when it was cut, not how long answers take.
  const isWhole = summary.abortedBy === null && summary.errorCode === null && summary.queueMs !== null;
  time("edge_request_duration_seconds", isWhole ? summary.totalMs : null);
}
