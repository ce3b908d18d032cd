/** /metrics after real requests: what it says adds up with what their clients were told. */
import { evictDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeAll, expect, test } from "vitest";
import dashboard from "../../docs/grafana/runnel.json";
import { METRICS } from "../../src/edge/metrics/catalog.ts";
import { HUB_NAME } from "../../src/edge/metrics/hub-state.ts";
import { type Answer, addTinyModel, answerOf, chat, chunksOf, errorOf, request, STREAM } from "../edge/stack.ts";
import { type Exposition, parseExposition } from "../support/exposition-parser.ts";
import { postAs, sessionAs } from "./asking.ts";
import { keyText, METRICS_TOKEN } from "./key-config.ts";

const MODEL = "metrics-tiny";

beforeAll(async () => {
  await addTinyModel(MODEL);
});

const READER = { authorization: `Bearer ${METRICS_TOKEN}` };

async function scrape(): Promise<Exposition> {
  const response = await request("/metrics", { headers: READER });
  expect([response.status, response.headers.get("content-type")]).toEqual([
    200,
    "text/plain; version=0.0.4; charset=utf-8",
  ]);
  return parseExposition(await response.text());
}

function read({ samples }: Exposition, name: string, labels: Record<string, string> = {}): number {
  const isOf = (sample: Exposition["samples"][number]) =>
    sample.name === name && Object.entries(labels).every(([key, value]) => sample.labels[key] === value);
  return samples.filter(isOf).reduce((sum, { value }) => sum + value, 0);
}

/** The end of a request is reported after its answer. */
async function scrapeUntil(isThere: (seen: Exposition) => boolean): Promise<Exposition> {
  for (let seen = await scrape(); ; seen = await scrape()) {
    if (isThere(seen)) return seen;
    await scheduler.wait(5);
  }
}

test("tokens, times, ends and statuses of requests of every kind", async () => {
  const usages: Answer["usage"][] = [];
  const prompt = "A prompt that is long enough to fill some blocks of the cache. ".repeat(2);
  for (let i = 0; i < 2; i++) {
    usages.push((await answerOf(await postAs("anne", "/v1/chat/completions", chat(MODEL, prompt, 12)))).usage);
  }
  const whole = { ...chat(MODEL, "Whole", 5), stream: false, stream_options: undefined };
  usages.push(
    ((await (await postAs("anne", "/v1/chat/completions", whole)).json()) as { usage: Answer["usage"] }).usage,
  );
  const id = await sessionAs("anne", MODEL);
  const message = { content: "Hello", max_tokens: 7, ...STREAM };
  usages.push((await answerOf(await postAs("anne", `/v1/sessions/${id}/messages`, message))).usage);
  await postAs("anne", "/v1/chat/completions", { ...whole, max_tokens: -1 });
  await postAs("anne", "/v1/chat/completions", { ...whole, model: "no-such-model" });

  const sum = (pick: (usage: Answer["usage"]) => number) => usages.reduce((all, usage) => all + pick(usage), 0);
  const model = { model: MODEL, tier: "edge" };
  const seen = await scrapeUntil((now) => read(now, "edge_request_success_total", model) === 4);
  expect(read(seen, "edge_prompt_tokens_total", model)).toBe(sum((usage) => usage.prompt_tokens));
  expect(read(seen, "edge_generation_tokens_total", model)).toBe(sum((usage) => usage.completion_tokens));
  expect(read(seen, "edge_prefix_cache_queries_total", model)).toBe(sum((usage) => usage.prompt_tokens));
  const cached = sum((usage) => usage.prompt_tokens_details.cached_tokens);
  expect(cached).toBeGreaterThan(0);
  expect(read(seen, "edge_prefix_cache_hits_total", model)).toBe(cached);
  expect(read(seen, "edge_request_success_total", { ...model, finished_reason: "length" })).toBe(4);
  for (const name of [
    "edge_time_to_first_token_seconds",
    "edge_request_duration_seconds",
    "edge_queue_duration_seconds",
    "edge_prefill_duration_seconds",
    "edge_decode_duration_seconds",
  ]) {
    expect([name, read(seen, `${name}_count`, model)]).toEqual([name, 4]);
  }
  const numGaps = read(seen, "edge_inter_token_latency_seconds_count", model);
  expect(numGaps).toBeGreaterThan(0);
  expect(numGaps).toBeLessThanOrEqual(sum((usage) => usage.completion_tokens - 1));
  const route = "/v1/chat/completions";
  expect(read(seen, "edge_requests_total", { route, model: MODEL, status: "200" })).toBe(3);
  expect(read(seen, "edge_requests_total", { route: "/v1/sessions/:id/messages", status: "200" })).toBe(1);
  // A name that no model has is no label.
  const refused = await scrapeUntil(
    (now) => read(now, "edge_requests_total", { route, model: "", status: "404" }) === 1,
  );
  expect(read(refused, "edge_requests_total", { route, model: "", status: "400" })).toBe(1);
  expect(read(refused, "edge_build_info")).toBe(1);
});

test("running sequences and the blocks that they hold are told while they run, and are gone afterwards", async () => {
  const chunks = chunksOf(await postAs("anne", "/v1/chat/completions", chat(MODEL, "Keep running", 900)));
  await chunks.next();
  const running = await scrapeUntil((now) => read(now, "edge_requests_running", { model: MODEL }) === 1);
  expect(read(running, "edge_requests_waiting", { model: MODEL })).toBe(0);
  await chunks.return();
  const after = await scrapeUntil((now) => read(now, "edge_requests_running", { model: MODEL }) === 0);
  expect(read(after, "edge_kv_cache_usage_ratio", { model: MODEL })).toBe(0);
  expect(read(after, "edge_request_aborted_total", { model: MODEL, by: "client" })).toBe(1);
});

test("an origin's answers count by their own tier", async () => {
  const response = await postAs("anne", "/v1/chat/completions", {
    model: "pair",
    messages: [{ role: "user", content: "Hi" }],
  });
  await response.text();
  const seen = await scrapeUntil((now) => read(now, "edge_requests_total", { model: "pair" }) >= 1);
  expect(read(seen, "edge_generation_tokens_total", { model: "pair", tier: "origin" })).toBeGreaterThan(0);
});

test("the hub keeps what it knows when it is evicted", async () => {
  const before = read(await scrape(), "edge_generation_tokens_total");
  expect(before).toBeGreaterThan(0);
  await evictDurableObject(env.METRICS_HUB.getByName(HUB_NAME));
  expect(read(await scrape(), "edge_generation_tokens_total")).toBe(before);
});

test("a report that comes twice counts once", async () => {
  const hub = env.METRICS_HUB.getByName(HUB_NAME);
  const counted = { counters: { edge_generation_tokens_total: { '["twice","edge"]': 5 } }, histograms: {} };
  const report = { isolate: "i".repeat(32), number: 1, counted, engines: [] };
  await hub.report(report);
  await hub.report(report);
  expect(read(await scrape(), "edge_generation_tokens_total", { model: "twice" })).toBe(5);
});

test("the dashboard's history has the same tokens", async () => {
  const { points } = (await (await request("/metrics/history", { headers: READER })).json()) as {
    points: { generationTokens: number; firstTokens: number[]; most: { running: number } }[];
  };
  const total = points.reduce((sum, { generationTokens }) => sum + generationTokens, 0);
  expect(total).toBe(read(await scrape(), "edge_generation_tokens_total"));
  expect(points.some(({ most }) => most.running > 0)).toBe(true);
  expect(points.some(({ firstTokens }) => firstTokens.some((num) => num > 0))).toBe(true);
});

test("the metrics are for who has their token or a key", async () => {
  for (const headers of [{}, { authorization: "Bearer wrong" }]) {
    for (const path of ["/metrics", "/metrics/history"]) {
      expect(await errorOf(await request(path, { headers }))).toMatchObject({ status: 401, code: "invalid_api_key" });
    }
  }
  expect((await request("/metrics", { headers: { authorization: `Bearer ${keyText("anne")}` } })).status).toBe(200);
  // And the token opens nothing else.
  expect((await request("/v1/models", { headers: READER })).status).toBe(401);
});

test("every metric of the Grafana dashboard is one of /metrics", async () => {
  const { types } = await scrape();
  const named = new Set(JSON.stringify(dashboard).match(/edge_[a-z_]+/g));
  expect(named.size).toBeGreaterThan(10);
  for (const name of named) {
    const base = name.replace(/_(bucket|sum|count)$/, "");
    expect([name, types[name] ?? types[base]]).toEqual([name, expect.stringMatching(/^(counter|gauge|histogram)$/)]);
  }
  expect(Object.keys(types)).toEqual(Object.keys(METRICS));
});
