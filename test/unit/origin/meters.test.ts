/** What is measured of a request, by a clock that the test moves, and what is taken over from an engine. */
import { expect, test } from "vitest";
import { ModelMeter } from "../../../src/origin/meters.ts";
import { createMetrics } from "../../../src/origin/metrics.ts";
import { modelNotFound } from "../../../src/protocol/errors.ts";
import type { GenerateEvent } from "../../../src/protocol/generate.ts";
import { request, world } from "../serving/world.ts";
import { stateOf } from "./engines.ts";

function measured() {
  const metrics = createMetrics();
  const here = { nowMs: 0 };
  const meter = new ModelMeter(metrics, "tiny", () => here.nowMs, ["tuned", "other"]);
  const lines = async (name: string) => {
    const all = (await metrics.registry.metrics()).split("\n");
    return all.filter((line) => line.startsWith(`${name}{`));
  };
  const value = async (name: string) => {
    const lines = (await metrics.registry.metrics()).split("\n");
    const line = lines.find((each) => each.startsWith(`${name}{`));
    return line === undefined ? null : Number(line.split(" ").at(-1));
  };
  return { here, meter, value, lines };
}

const delta = (tokenIds: number[], index = 0): GenerateEvent => ({
  type: "delta",
  index,
  text: "x",
  tokenIds,
  tokens: null,
});

test("the intervals of a request are those of vLLM", async () => {
  const { here, meter, value } = measured();
  const one = meter.arrived(request({ maxTokens: 4 }));
  const at = (ms: number, event: GenerateEvent) => {
    here.nowMs = ms;
    one.observe(event);
  };
  at(100, { type: "start", model: "tiny", promptTokens: 6, cachedTokens: 4 });
  at(400, delta([1]));
  at(500, delta([2, 3]));
  at(900, { type: "finish", index: 0, reason: "stop", stop: null });
  const timings = { queueMs: 0, ttftMs: 0, totalMs: 0 };
  at(900, { type: "done", usage: { promptTokens: 6, completionTokens: 4, cachedTokens: 4 }, timings });
  const seconds = {
    time_to_first_token: 0.4,
    inter_token_latency: 0.1,
    e2e_request_latency: 0.9,
    request_queue_time: 0.1,
    request_prefill_time: 0.3,
    request_decode_time: 0.1,
    request_inference_time: 0.8,
  };
  for (const [name, sum] of Object.entries(seconds)) {
    expect([name, await value(`vllm:${name}_seconds_sum`)]).toEqual([name, expect.closeTo(sum, 9)]);
    expect(await value(`vllm:${name}_seconds_count`)).toBe(1);
  }
  // The token that ended it came in no delta.
  expect(await value("vllm:generation_tokens_total")).toBe(4);
  expect(await value("vllm:prompt_tokens_total")).toBe(6);
  expect(await value("vllm:request_generation_tokens_sum")).toBe(4);
  expect(await value("vllm:request_params_max_tokens_sum")).toBe(4);
});

test("gaps are those within a choice", async () => {
  const { here, meter, value } = measured();
  const one = meter.arrived(request({ n: 2 }));
  for (const [ms, index] of [
    [10, 0],
    [20, 1],
    [30, 0],
    [50, 1],
  ] as const) {
    here.nowMs = ms;
    one.observe(delta([1], index));
  }
  expect(await value("vllm:inter_token_latency_seconds_count")).toBe(2);
  expect(await value("vllm:inter_token_latency_seconds_sum")).toBeCloseTo(0.05, 9);
});

test("how a request ended is counted once, with the reason", async () => {
  const { meter, value } = measured();
  meter.arrived(request()).aborted();
  meter.arrived(request()).refused(modelNotFound("x", []));
  expect(await value('vllm:request_success_total{model_name="tiny",finished_reason="abort"')).toBeNull();
  expect(await value("vllm:request_success_total")).toBe(1);
  expect(await value("runnel_requests_refused_total")).toBe(1);
});

test("an engine's counts go on where it was lost; what it did to warm up is nobody's", async () => {
  const { meter, value } = measured();
  const state = stateOf(world());
  const after = (numSteps: number, numFreeBlocks: number) => {
    return { ...state, stats: { ...state.stats, numSteps, numFreeBlocks, prefixHitTokens: 2 * numSteps } };
  };
  meter.engineReady(after(3, 64), "f16");
  meter.engineState(after(3, 64));
  meter.engineState(after(10, 48));
  expect(await value("runnel_engine_steps_total")).toBe(7);
  expect(await value("vllm:kv_cache_usage_perc")).toBe(0.25);
  meter.engineLost();
  expect([await value("vllm:kv_cache_usage_perc"), await value("runnel_engine_up")]).toEqual([0, 0]);
  meter.engineReady(after(2, 64), "f16");
  meter.engineState(after(4, 64));
  expect(await value("runnel_engine_steps_total")).toBe(9);
  expect(await value("vllm:prefix_cache_hits_total")).toBe(18);
  expect(await value("runnel_engine_failures_total")).toBe(1);
});

test("tokens of steps, guesses by place and unused slots come from the engine", async () => {
  const { meter, value, lines } = measured();
  const { stats, ...state } = stateOf(world());
  meter.engineReady({ ...state, stats }, "int8");
  expect(await lines("vllm:cache_config_info")).toEqual([
    `vllm:cache_config_info{model_name="tiny",block_size="4",num_gpu_blocks="64",cache_dtype="int8"} 1`,
  ]);
  const drafting = { numDrafts: 3, numDraftedTokens: 9, numAcceptedTokens: 4, numAcceptedAt: [3, 1] };
  const held = { numFreeBlocks: stats.numBlocks - 5, numUnusedSlots: 2 };
  meter.engineState({ ...state, stats: { ...stats, ...drafting, ...held }, stepTokens: [40, 3] });
  meter.engineState({ ...state, stats: { ...stats, ...drafting, ...held, numAcceptedAt: [4, 1, 1] }, stepTokens: [] });
  expect(await value("vllm:iteration_tokens_total_count")).toBe(2);
  expect(await value("vllm:iteration_tokens_total_sum")).toBe(43);
  expect(await value("vllm:spec_decode_num_drafts_total")).toBe(3);
  expect(await lines("vllm:spec_decode_num_accepted_tokens_per_pos_total")).toEqual(
    [4, 1, 1].map(
      (count, position) =>
        `vllm:spec_decode_num_accepted_tokens_per_pos_total{model_name="tiny",position="${position}"} ${count}`,
    ),
  );
  expect(await value("runnel_kv_unused_slots_ratio")).toBe(0.1);
});

test("adapters are named while requests of theirs wait and run", async () => {
  const { meter, lines } = measured();
  const shown = async () => {
    const all = await lines("vllm:lora_requests_info");
    return all.map((line) => /running_lora_adapters="(.*)",waiting_lora_adapters="(.*)"/.exec(line)!.slice(1));
  };
  expect(await shown()).toEqual([["", ""]]);
  const [base, first, second] = ["tiny", "tuned", "other"].map((model) => meter.arrived(request({ model })));
  expect(await shown()).toEqual([["", "other,tuned"]]);
  for (const one of [base!, first!]) one.observe({ type: "start", model: "", promptTokens: 1, cachedTokens: 0 });
  expect(await shown()).toEqual([["tuned", "other"]]);
  second!.refused(modelNotFound("x", []));
  first!.aborted();
  expect(await shown()).toEqual([["", ""]]);
});

test("the longest of several choices is measured, and all of them", async () => {
  const { meter, value } = measured();
  const one = meter.arrived(request({ n: 2 }));
  for (const event of [delta([1], 0), delta([2, 3], 1), delta([4, 5], 1)]) one.observe(event);
  const timings = { queueMs: 0, ttftMs: 0, totalMs: 0 };
  one.observe({ type: "done", usage: { promptTokens: 6, completionTokens: 6, cachedTokens: 0 }, timings });
  expect(await value("vllm:request_max_num_generation_tokens_sum")).toBe(4);
  expect(await value("vllm:request_generation_tokens_sum")).toBe(6);
});
