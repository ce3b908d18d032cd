/**
 * `npm run bench:origin`: what a server gives its clients under load, over HTTP. Any OpenAI-compatible URL: our origin, the
 * Worker, vLLM, SGLang, llama.cpp …, measured by the same definitions.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { uniformSource } from "../../test/support/random.ts";
import { UsageError } from "../model/errors.ts";
import { runCommand, say, writeJson } from "./command.ts";
import { arrivalTimesMs } from "./load/arrivals.ts";
import { type LoadOptions, parseLoadOptions } from "./load/load-options.ts";
import { type PromptForm, probe, wirePrompt } from "./load/probe.ts";
import { ProgressBar } from "./load/progress-bar.ts";
import { type LoadRequest, prefixRequests, randomRequests } from "./load/prompts.ts";
import { servingTable } from "./load/report.ts";
import { type LoadClock, runLoad } from "./load/run-load.ts";
import { DEFINITIONS, servingMetrics } from "./load/serving-metrics.ts";
import { type LoadTarget, streamRequest } from "./load/stream-request.ts";
import { describeMachine } from "./machine.ts";
import { type OriginResults, type OriginRun, RESULT_VERSION } from "./results.ts";
import { round } from "./statistics.ts";

const HELP = `Usage: npm run bench:origin -- --url URL --model NAME [options]

Sends streamed requests to an OpenAI-compatible server and measures what comes back.

${DEFINITIONS}

  --url URL              base of the API, such as http://127.0.0.1:8788/v1
  --model NAME           as the server names it
  --endpoint E           completions or chat (default: completions)
  --prompts KIND         tokens: as ids; text: as words; auto: ids where the server takes them (default: auto)
  --dataset D            random, or prefix: prompts that share prefixes (default: random)
  --num-prompts N        requests of a run (default: 100)
  --input-len N          tokens of a prompt (default: 1024); as text, about so many
  --output-len N         tokens of an answer (default: 128)
  --range-ratio R        lengths are uniform in [n(1 - R), n(1 + R)] (default: 0)
  --num-prefixes N, --prefix-len N, --suffix-len N   of the prefix data set (default: 10, 256, 256)
  --vocab-size N         ids of prompts are below this (default: 1000; any vocabulary has them)
  --rate LIST            requests a second; inf = all at once (default: inf)
  --burstiness B         1 = Poisson process; below, bursts; above, more even; inf = equal gaps (default: 1)
  --max-concurrency LIST requests at one time (default: inf). Every rate is run with every bound
  --warmup N             requests before each run (default: 0)
  --goodput LIST         bounds in ms of a good request: ttft:500,tpot:50,e2el:10000
  --temperature T        (default: 0)
  --respect-eos          let answers end: leaves ignore_eos out, which some servers refuse
  --seed N               of prompts and arrivals (default: 0)
  --timeout-s N          after which a request has failed (default: 600)
  --key-from VARIABLE    environment variable with the key, sent as a bearer token
  --label TEXT           name of the server in tables (default: its host)
  --json FILE            write the results there as well
  --help                 this text`;

const CLOCK: LoadClock = {
  nowMs: () => performance.now(),
  async until(timeMs) {
    const restMs = timeMs - performance.now();
    if (restMs > 0) await sleep(restMs);
  },
};

async function main(): Promise<void> {
  const options = parseLoadOptions(process.argv.slice(2));
  if (options === null) {
    console.log(HELP);
    return;
  }
  const target = targetOf(options);
  const source = { vocabSize: options.vocabSize, uniform: uniformSource(options.seed ^ PROBE_SEED) };
  const form = await probe(target, options.prompts, source);
  const runs: OriginRun[] = [];
  for (const ratePerS of options.ratesPerS) {
    for (const maxConcurrency of options.maxConcurrencies) {
      const run = await runOnce(target, options, form, { ratePerS, maxConcurrency, index: runs.length });
      console.log(`${headline(options, form, run)}\n${servingTable(run.metrics)}\n`);
      runs.push(run);
    }
  }
  const { label, model, endpoint, goodput, json } = options;
  const results: OriginResults = {
    version: RESULT_VERSION,
    kind: "origin",
    takenAt: new Date().toISOString(),
    machine: describeMachine(),
    settings: settingsOf(options),
    label,
    model,
    endpoint,
    promptKind: form.kind,
    goodput,
    runs,
  };
  if (json !== null) writeJson(json, results);
  if (runs.some(({ metrics }) => metrics.completed === 0)) process.exitCode = 1;
}

/** Prompts of the first request and of warm-ups must not be those of a run: they would be in the server's prefix cache. */
const PROBE_SEED = 0x5eed;

function targetOf({ baseUrl, endpoint, keyFrom, model, temperature, ignoresEos, timeoutS }: LoadOptions): LoadTarget {
  const key = keyFrom === null ? null : process.env[keyFrom];
  if (key === undefined) throw new UsageError(`--key-from is '${keyFrom}', but there is no such environment variable.`);
  return {
    baseUrl,
    endpoint,
    headers: key === null ? {} : { authorization: `Bearer ${key}` },
    fields: { model, temperature, ...(ignoresEos && { ignore_eos: true }) },
    fetch: (url, init) => fetch(url, { ...init, signal: AbortSignal.timeout(1000 * timeoutS) }),
    nowMs: CLOCK.nowMs,
  };
}

interface RunChoice {
  ratePerS: number;
  maxConcurrency: number;
  /** Of the run: each has prompts of its own. */
  index: number;
}

async function runOnce(
  target: LoadTarget,
  options: LoadOptions,
  form: PromptForm,
  { ratePerS, maxConcurrency, index }: RunChoice,
): Promise<OriginRun> {
  const uniform = uniformSource(options.seed + 7919 * index);
  const requests = requestsOf(options, form, options.numPrompts, uniform);
  const arrivalsMs = arrivalTimesMs(requests.length, { ratePerS, burstiness: options.burstiness }, uniform);
  const send = (request: LoadRequest, times: { startMs: number; queueMs: number }) =>
    streamRequest(target, wirePrompt(request, form.kind), request.outputTokens, {
      ...times,
      promptTokens: request.prompt.length,
    });
  const common = { maxConcurrency, clock: CLOCK, send };
  if (options.numWarmups > 0) {
    const warming = uniformSource(options.seed ^ (PROBE_SEED + 1 + index));
    const warmups = requestsOf({ ...options, dataset: "random" }, form, options.numWarmups, warming);
    await runLoad({ ...common, requests: warmups, arrivalsMs: warmups.map(() => 0) });
    say(`${warmups.length} requests to warm up`);
  }
  const bar = new ProgressBar(choiceLabel(ratePerS, maxConcurrency), requests.length, process.stderr);
  const result = await runLoad({ ...common, requests, arrivalsMs, onDone: (numDone) => bar.update(numDone) });
  const column = (of: (outcome: (typeof result.outcomes)[number]) => number) =>
    result.outcomes.filter(({ error }) => error === null).map((outcome) => round(of(outcome)));
  return {
    ratePerS: finite(ratePerS),
    maxConcurrency: finite(maxConcurrency),
    metrics: servingMetrics(result, options.goodput),
    samples: {
      startMs: column(({ startMs }) => startMs),
      ttftMs: column(({ ttftMs }) => ttftMs),
      e2elMs: column(({ latencyMs }) => latencyMs),
      outputTokens: column(({ outputTokens }) => outputTokens),
    },
  };
}

function requestsOf(
  options: LoadOptions,
  { wordsPerToken }: PromptForm,
  count: number,
  uniform: () => number,
): LoadRequest[] {
  const { dataset, vocabSize, inputTokens, outputTokens, spread, numPrefixes, prefixTokens, suffixTokens } = options;
  const source = { vocabSize, uniform };
  const words = (tokens: number) => Math.max(1, Math.round(tokens * wordsPerToken));
  if (dataset === "random")
    return randomRequests(count, { inputTokens: words(inputTokens), outputTokens, spread }, source);
  const shape = { numPrefixes, prefixTokens: words(prefixTokens), suffixTokens: words(suffixTokens) };
  return prefixRequests(count, shape, outputTokens, source);
}

/** JSON has no infinity. */
function finite(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}

function choiceLabel(ratePerS: number, maxConcurrency: number): string {
  const rate = Number.isFinite(ratePerS) ? `${ratePerS} requests/s` : "all at once";
  return Number.isFinite(maxConcurrency) ? `${rate}, at most ${maxConcurrency} together` : rate;
}

function headline(options: LoadOptions, { kind }: PromptForm, { ratePerS, maxConcurrency }: OriginRun): string {
  const { label, model, dataset, endpoint } = options;
  const choice = choiceLabel(ratePerS ?? Number.POSITIVE_INFINITY, maxConcurrency ?? Number.POSITIVE_INFINITY);
  return `${model} at ${label}: ${choice}; ${dataset} prompts as ${kind}, ${endpoint}.`;
}

/** What makes two documents comparable; no key, no path. */
function settingsOf(options: LoadOptions): Record<string, unknown> {
  const { dataset, numPrompts, inputTokens, outputTokens, spread, numPrefixes, prefixTokens, suffixTokens } = options;
  const { vocabSize, numWarmups, temperature, ignoresEos, seed } = options;
  const lengths = dataset === "random" ? { inputTokens, spread } : { numPrefixes, prefixTokens, suffixTokens };
  const burstiness = finite(options.burstiness) ?? "inf";
  return {
    dataset,
    numPrompts,
    ...lengths,
    outputTokens,
    burstiness,
    vocabSize,
    numWarmups,
    temperature,
    ignoresEos,
    seed,
  };
}

await runCommand("bench:origin", main);
