/**
 * What `/metrics` says, under vLLM's names where it has one, so that its dashboards work. Colons in a name are for
 * recording rules by Prometheus's own advice; a name that is known wins over it. Label `model_name` as there.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** vLLM's buckets, in seconds. */
const FIRST_TOKEN_BUCKETS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160,
];
const BETWEEN_TOKENS_BUCKETS = [
  0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80,
];
const REQUEST_BUCKETS = [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680];
const TOKEN_BUCKETS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000];
const STEP_BUCKETS = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];
const CHOICE_BUCKETS = [1, 2, 5, 10, 20];

export type OriginMetrics = ReturnType<typeof createMetrics>;

export function createMetrics() {
  const registry = new Registry();
  const define = (name: string, help: string, ...labels: string[]) => {
    return { name, help, labelNames: ["model_name", ...labels], registers: [registry] };
  };
  const gauge = (name: string, help: string, ...labels: string[]) => new Gauge(define(name, help, ...labels));
  const counter = (name: string, help: string, ...labels: string[]) => new Counter(define(name, help, ...labels));
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ ...define(name, help), buckets });

  return {
    registry,
    running: gauge("vllm:num_requests_running", "Sequences in the batch."),
    waiting: gauge("vllm:num_requests_waiting", "Sequences that wait for a place."),
    kvUsage: gauge("vllm:kv_cache_usage_perc", "Share of the KV blocks that sequences hold, 0 to 1."),
    cacheInfo: gauge(
      "vllm:cache_config_info",
      "Of the KV cache: tokens of a block, blocks, precision. Always 1.",
      ...["block_size", "num_gpu_blocks", "cache_dtype"],
    ),
    loraInfo: gauge(
      "vllm:lora_requests_info",
      "Adapters of running and waiting requests; the value is when that came to be so.",
      ...["max_lora", "running_lora_adapters", "waiting_lora_adapters"],
    ),
    kvWaste: gauge(
      "runnel_kv_unused_slots_ratio",
      "Share of the held KV blocks' token slots that hold no token, 0 to 1.",
    ),
    engineUp: gauge("runnel_engine_up", "1 while the engine can answer."),

    prefixQueries: counter("vllm:prefix_cache_queries_total", "Tokens that were looked up in the prefix cache."),
    prefixHits: counter("vllm:prefix_cache_hits_total", "Tokens that were found there."),
    preemptions: counter("vllm:num_preemptions_total", "Sequences that gave their place up for want of blocks."),
    promptTokens: counter("vllm:prompt_tokens_total", "Tokens of admitted prompts."),
    generationTokens: counter("vllm:generation_tokens_total", "Tokens that were generated."),
    drafts: counter("vllm:spec_decode_num_drafts_total", "Decodes that tokens were guessed ahead for."),
    draftTokens: counter("vllm:spec_decode_num_draft_tokens_total", "Tokens that were guessed ahead."),
    acceptedTokens: counter("vllm:spec_decode_num_accepted_tokens_total", "Guessed tokens that were right."),
    acceptedAt: counter(
      "vllm:spec_decode_num_accepted_tokens_per_pos_total",
      "Guessed tokens that were right, by their place among the guesses of a decode.",
      "position",
    ),
    succeeded: counter("vllm:request_success_total", "Choices that ended, and how.", "finished_reason"),
    refused: counter("runnel_requests_refused_total", "Requests that were not taken on, and why.", "code"),
    failed: counter("runnel_requests_failed_total", "Requests that failed after they were taken on, and why.", "code"),
    resent: counter("runnel_requests_resent_total", "Answers that a next engine went on with after one was lost."),
    restarts: counter("runnel_engine_failures_total", "Engines that were lost while they could answer."),
    steps: counter("runnel_engine_steps_total", "Steps of the engine."),
    stepTokens: counter("runnel_engine_step_tokens_total", "Tokens that steps computed."),

    firstToken: histogram(
      "vllm:time_to_first_token_seconds",
      "From a request's arrival to its first token.",
      FIRST_TOKEN_BUCKETS,
    ),
    betweenTokens: histogram(
      "vllm:inter_token_latency_seconds",
      "From a choice's token to its next; tokens that come together count once.",
      BETWEEN_TOKENS_BUCKETS,
    ),
    whole: histogram("vllm:e2e_request_latency_seconds", "From arrival to the end.", REQUEST_BUCKETS),
    queue: histogram("vllm:request_queue_time_seconds", "From arrival to the first step.", REQUEST_BUCKETS),
    inference: histogram("vllm:request_inference_time_seconds", "From the first step to the end.", REQUEST_BUCKETS),
    prefill: histogram("vllm:request_prefill_time_seconds", "From the first step to the first token.", REQUEST_BUCKETS),
    decode: histogram("vllm:request_decode_time_seconds", "From the first token to the last.", REQUEST_BUCKETS),
    iterationTokens: histogram("vllm:iteration_tokens_total", "Tokens that a step computed.", STEP_BUCKETS),
    requestPrompt: histogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", TOKEN_BUCKETS),
    requestGeneration: histogram("vllm:request_generation_tokens", "Generated tokens of a request.", TOKEN_BUCKETS),
    requestMostGeneration: histogram(
      "vllm:request_max_num_generation_tokens",
      "Generated tokens of a request's longest choice.",
      TOKEN_BUCKETS,
    ),
    paramsN: histogram("vllm:request_params_n", "Choices that a request asks for.", CHOICE_BUCKETS),
    paramsMaxTokens: histogram("vllm:request_params_max_tokens", "max_tokens of requests with one.", TOKEN_BUCKETS),
  };
}
