/**
 * The measurements of one engine in one process. Runs unchanged in Node and inside workerd: the clock, and a pause that
 * lets the host's other work (tier-up, timers) happen, come from outside.
 *
 * Cold first: the first steps of a fresh instance run in V8's baseline compiler, and a process has only one such moment.
 * Then everything is warmed up, and the measures are taken in turn, `repeats` times over, so that what drifts on the
 * machine drifts in all of them.
 */

import { CpuBackend } from "../../src/backends/cpu/cpu-backend.ts";
import type { KernelModules } from "../../src/backends/cpu/kernel-set.ts";
import type { CpuOptions } from "../../src/backends/cpu/memory-plan.ts";
import { readGguf } from "../../src/model/gguf-reader.ts";
import { memorySource } from "../../src/model/source-memory.ts";
import { specFromGguf } from "../../src/model/spec-from-gguf.ts";
import { GREEDY } from "../../test/support/sampling.ts";
import {
  BATCH_CONTEXT,
  BATCH_SEQUENCES,
  COLD_TOKENS,
  DECODE_CONTEXTS,
  PREFILL_TOKENS,
  SAMPLED_CONTEXT,
} from "./measures.ts";
import {
  decodeStep,
  placeSequence,
  prefill,
  promptTokens,
  type RunningSequence,
  SAMPLED,
} from "./running-sequences.ts";

export interface MeasureHost {
  nowMs(): number;
  /** Resolves after the host had a turn. */
  pause(): Promise<void>;
}

export interface MeasureSettings {
  /** Samples of each measure in this process. */
  repeats: number;
  /** A sample is repeated until it took so long: the clock of workerd ticks in milliseconds. */
  sampleMs: number;
}

export interface EngineMeasures {
  engine: string;
  memory: { weightsBytes: number; kvBytes: number; scratchBytes: number; totalBytes: number; contextLength: number };
  /** By key of `MEASURES`; a context that the model does not have is left out. */
  samples: Record<string, number[]>;
}

/** Tokens of one timed pass of decoding. */
const DECODE_TOKENS = 32;
const CONTEXT_TOKENS = Math.max(...DECODE_CONTEXTS) + DECODE_TOKENS;
const POOL_TOKENS = 2048;
const CHUNK_BYTES = 1 << 20;
/** V8 compiles a hot function in the background; this is ample for an engine of 100 KB. */
const WARM_UP_MS = 1500;

export async function measureEngine(
  file: Uint8Array,
  name: string,
  modules: KernelModules,
  settings: MeasureSettings,
  host: MeasureHost,
): Promise<EngineMeasures> {
  const samples: Record<string, number[]> = {};
  const add = (key: string, value: number) => {
    samples[key] ??= [];
    samples[key].push(value);
  };
  const startMs = host.nowMs();
  const backend = await loadEngine(file, name, modules);
  add("load-cold", gbPerS(file, host.nowMs() - startMs));
  measureCold(backend, host, add);

  const timed = timedMeasures(backend);
  await warmUp(backend, host);
  for (let i = 0; i < settings.repeats; i++) {
    for (const [key, pass] of timed) {
      add(key, await rate(pass, settings.sampleMs, host));
    }
  }
  const engine = backend.name;
  const { totalBytes, contextLength } = backend.plan;
  const memory = { ...backend.memory, totalBytes, contextLength };
  backend.dispose();
  const load = { sampleMs: settings.sampleMs, host };
  for (let i = 0; i < settings.repeats; i++) await measureLoad(file, name, modules, load, add);
  return { engine, memory, samples };
}

/** The KV pool of `POOL_TOKENS` is as large for every model, so that memory compares. */
async function loadEngine(file: Uint8Array, name: string, modules: KernelModules): Promise<CpuBackend> {
  const source = memorySource(file, name, CHUNK_BYTES);
  const { header, data } = await readGguf(source);
  const spec = specFromGguf(header, source.name);
  const blockTokens = 16;
  const options: CpuOptions = {
    blockTokens,
    numBlocks: POOL_TOKENS / blockTokens,
    contextLength: Math.min(spec.contextLength, POOL_TOKENS),
    maxBatchSequences: Math.max(...BATCH_SEQUENCES),
  };
  return CpuBackend.load({ modules, header, data, spec, options });
}

function measureCold(backend: CpuBackend, host: MeasureHost, add: (key: string, value: number) => void): void {
  const sequence = placeSequence(backend.limits, 2 * COLD_TOKENS);
  const prompt = promptTokens(COLD_TOKENS, backend.limits.vocabSize);
  const startMs = host.nowMs();
  prefill(backend, sequence, prompt);
  const prefilledMs = host.nowMs();
  for (let i = 0; i < COLD_TOKENS; i++) decodeStep(backend, [sequence]);
  const endMs = host.nowMs();
  add("cold-prefill", perS(COLD_TOKENS, prefilledMs - startMs));
  add("cold-decode", perS(COLD_TOKENS, endMs - prefilledMs));
}

/** A pass does its work once and says how many tokens that was. */
type Pass = () => number;

function timedMeasures(backend: CpuBackend): [string, Pass][] {
  const { limits } = backend;
  const { vocabSize, contextLength } = limits;
  const contextTokens = Math.min(CONTEXT_TOKENS, contextLength);
  const single = placeSequence(limits, contextTokens);
  // Decoding overwrites positions behind its context; what it reads before them was written by this one prefill.
  prefill(backend, single, promptTokens(contextTokens, vocabSize));
  const decodeAt = (context: number, sequences: RunningSequence[], params = GREEDY) => {
    for (const sequence of sequences) sequence.position = context;
    for (let i = 0; i < DECODE_TOKENS; i++) decodeStep(backend, sequences, params);
    return DECODE_TOKENS * sequences.length;
  };
  const fits = (context: number) => context + DECODE_TOKENS <= contextLength;
  const measures: [string, Pass][] = [];
  for (const context of DECODE_CONTEXTS.filter(fits)) {
    measures.push([`decode-${context}`, () => decodeAt(context, [single])]);
  }
  if (fits(SAMPLED_CONTEXT)) {
    measures.push(["decode-sampled", () => decodeAt(SAMPLED_CONTEXT, [single], SAMPLED)]);
  }
  const batch = Array.from({ length: Math.max(...BATCH_SEQUENCES) }, (_, i) =>
    placeSequence(limits, BATCH_CONTEXT + DECODE_TOKENS, i),
  );
  for (const numSequences of BATCH_SEQUENCES) {
    const sequences = batch.slice(0, numSequences);
    measures.push([`batch-${numSequences}`, () => decodeAt(BATCH_CONTEXT, sequences)]);
  }
  for (const numTokens of PREFILL_TOKENS.filter((n) => n <= contextLength)) {
    const prompt = promptTokens(numTokens, vocabSize);
    const pass = () => {
      prefill(backend, single, prompt);
      return numTokens;
    };
    measures.push([`prefill-${numTokens}`, pass]);
  }
  return measures;
}

async function warmUp(backend: CpuBackend, host: MeasureHost): Promise<void> {
  const sequence = placeSequence(backend.limits, 64 + DECODE_TOKENS);
  const prompt = promptTokens(64, backend.limits.vocabSize);
  const endMs = host.nowMs() + WARM_UP_MS;
  do {
    prefill(backend, sequence, prompt);
    for (let i = 0; i < DECODE_TOKENS; i++) decodeStep(backend, [sequence], i % 2 === 0 ? GREEDY : SAMPLED);
    await host.pause();
  } while (host.nowMs() < endMs);
}

/** Tokens a second over as many passes as `sampleMs` takes. */
async function rate(pass: Pass, sampleMs: number, host: MeasureHost): Promise<number> {
  await host.pause();
  let numTokens = 0;
  const startMs = host.nowMs();
  let elapsedMs = 0;
  while (elapsedMs < sampleMs) {
    numTokens += pass();
    elapsedMs = host.nowMs() - startMs;
  }
  return perS(numTokens, elapsedMs);
}

/** Loading, and a plain copy of the file's bytes into fresh linear memory, in the same chunks. */
async function measureLoad(
  file: Uint8Array,
  name: string,
  modules: KernelModules,
  { sampleMs, host }: { sampleMs: number; host: MeasureHost },
  add: (key: string, value: number) => void,
): Promise<void> {
  const copyGbPerS = await loadRate(file, sampleMs, host, async () => copyPlainly(file));
  const loadGbPerS = await loadRate(file, sampleMs, host, async () =>
    (await loadEngine(file, name, modules)).dispose(),
  );
  add("load", loadGbPerS);
  add("load-copy", copyGbPerS);
  add("load-ratio", loadGbPerS / copyGbPerS);
}

async function loadRate(file: Uint8Array, sampleMs: number, host: MeasureHost, load: () => Promise<void>) {
  await host.pause();
  let numLoads = 0;
  const startMs = host.nowMs();
  let elapsedMs = 0;
  while (elapsedMs < sampleMs) {
    await load();
    numLoads++;
    elapsedMs = host.nowMs() - startMs;
  }
  return numLoads * gbPerS(file, elapsedMs);
}

function copyPlainly(file: Uint8Array): void {
  const memory = new WebAssembly.Memory({ initial: Math.ceil(file.length / 65_536) });
  const target = new Uint8Array(memory.buffer);
  for (let at = 0; at < file.length; at += CHUNK_BYTES) target.set(file.subarray(at, at + CHUNK_BYTES), at);
}

function perS(count: number, elapsedMs: number): number {
  return (1000 * count) / Math.max(elapsedMs, 1e-3);
}

function gbPerS(file: Uint8Array, elapsedMs: number): number {
  return perS(file.length, elapsedMs) / 1e9;
}
