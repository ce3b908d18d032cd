/**
 * Every metric of the Worker: its name, what it means, its labels, and whose clock it is by. Names are prefixed, in base
 * units, and end in the unit, as Prometheus advises; each has its counterpart in vLLM's dashboards. `docs/operations.md`
 * has the same table, and a test compares them.
 */

export type Labels = readonly string[];

interface MetricBase {
  help: string;
  labels: Labels;
  unit: "seconds" | "tokens" | "requests" | "sequences" | "ratio" | "choices" | "info";
}

export interface CounterDefinition extends MetricBase {
  type: "counter";
}

export interface GaugeDefinition extends MetricBase {
  type: "gauge";
}

export interface HistogramDefinition extends MetricBase {
  type: "histogram";
  /** Upper bounds, ascending; +Inf is implied. */
  bounds: readonly number[];
  /** Of the process that measures it: never the difference of two processes' clocks. */
  clock: string;
}

export type MetricDefinition = CounterDefinition | GaugeDefinition | HistogramDefinition;

const MODEL: Labels = ["model", "tier"];
const ARRIVAL_CLOCK = "Worker; session's object";

/** An edge model's first token comes after milliseconds, an origin's may take a minute. */
const FIRST_TOKEN_S = [
  0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160,
];
const BETWEEN_TOKENS_S = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 2.5, 5, 10,
];
const REQUEST_S = [0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 60, 120, 240, 480, 960];

function histogram(help: string, bounds: readonly number[]): HistogramDefinition {
  return { type: "histogram", help, labels: MODEL, unit: "seconds", bounds, clock: ARRIVAL_CLOCK };
}

function counter(help: string, unit: MetricBase["unit"], labels: Labels = MODEL): CounterDefinition {
  return { type: "counter", help, labels, unit };
}

function gauge(help: string, unit: MetricBase["unit"]): GaugeDefinition {
  return { type: "gauge", help, labels: MODEL, unit };
}

export const METRICS = {
  edge_requests_total: counter("Requests that were answered, and how.", "requests", ["route", "model", "status"]),
  edge_request_duration_seconds: histogram("From a request's arrival to its end.", REQUEST_S),
  edge_time_to_first_token_seconds: histogram("From a request's arrival to its first token.", FIRST_TOKEN_S),
  edge_inter_token_latency_seconds: histogram(
    "From a choice's token to its next; tokens that come together count once.",
    BETWEEN_TOKENS_S,
  ),
  edge_queue_duration_seconds: histogram("From a request's arrival to its first step.", FIRST_TOKEN_S),
  edge_prefill_duration_seconds: histogram("From the first step to the first token.", FIRST_TOKEN_S),
  edge_decode_duration_seconds: histogram("From the first token to the last.", REQUEST_S),
  edge_prompt_tokens_total: counter("Tokens of admitted prompts.", "tokens"),
  edge_generation_tokens_total: counter("Tokens that were generated.", "tokens"),
  edge_prefix_cache_queries_total: counter("Prompt tokens that were looked up in the prefix cache.", "tokens"),
  edge_prefix_cache_hits_total: counter("Prompt tokens that were found there.", "tokens"),
  edge_request_success_total: counter("Choices that ended, and how.", "choices", [...MODEL, "finished_reason"]),
  edge_request_aborted_total: counter("Generations that were cut off, and by whom.", "requests", [...MODEL, "by"]),
  edge_request_failed_total: counter("Generations that failed after they began.", "requests", [...MODEL, "code"]),
  edge_requests_running: gauge("Sequences that are computed right now.", "sequences"),
  edge_requests_waiting: gauge("Sequences that wait for a place.", "sequences"),
  edge_kv_cache_usage_ratio: gauge("Share of the KV blocks that sequences hold, 0 to 1.", "ratio"),
  edge_build_info: {
    type: "gauge",
    help: "Always 1; its label says which version runs.",
    labels: ["version"],
    unit: "info",
  },
} as const satisfies Record<string, MetricDefinition>;

export type MetricName = keyof typeof METRICS;

type NamesOf<Type extends MetricDefinition["type"]> = {
  [Name in MetricName]: (typeof METRICS)[Name]["type"] extends Type ? Name : never;
}[MetricName];

export type CounterName = NamesOf<"counter">;
export type HistogramName = NamesOf<"histogram">;
export type GaugeName = NamesOf<"gauge">;
