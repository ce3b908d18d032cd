/** The JSON documents in `docs/benchmarks/`: written by the benchmarks, read by the plots and the README. */
import type { HostName } from "./engine-job.ts";
import type { SectionResult } from "./gpu/section.ts";
import type { GpuSummary } from "./gpu/summary.ts";
import type { ServiceLevels } from "./load/goodput.ts";
import type { PromptKind } from "./load/probe.ts";
import type { ServingMetrics } from "./load/serving-metrics.ts";
import type { Endpoint } from "./load/stream-request.ts";
import type { Machine } from "./machine.ts";
import type { EngineMeasures } from "./measure-engine.ts";
import type { Summary } from "./statistics.ts";

/** Raised when a document changes its shape; older ones are refused. */
export const RESULT_VERSION = 1;

export interface ResultHeader {
  version: number;
  /** ISO 8601. */
  takenAt: string;
  machine: Machine;
  settings: Record<string, unknown>;
}

export interface ModelName {
  name: string;
  sizeBytes: number;
  /** Weights mean nothing; only speed and memory do. */
  isRandom: boolean;
}

export interface EngineEntry {
  model: ModelName;
  host: HostName;
  /** false = V8 was told to do without AVX-VNNI. */
  vnniAllowed: boolean;
  engine: string;
  memory: EngineMeasures["memory"] & { peakProcessBytes: number | null };
  /** By key of `MEASURES`. */
  measures: Record<string, Summary>;
}

/** `npm run bench`. */
export interface EngineResults extends ResultHeader {
  kind: "engine";
  results: EngineEntry[];
}

export interface PeerEntry {
  engine: string;
  version: string;
  /** How it was built or which of its builds ran. */
  build: string;
  prefill: Summary;
  decode: Summary;
}

export interface PeerComparison {
  model: ModelName;
  engines: PeerEntry[];
  /** How many times as fast as the other our engine is: medians of the ratios of each round. */
  ratios: { engine: string; against: string; prefill: Summary; decode: Summary }[];
}

/** `npm run bench:peers`. */
export interface PeerResults extends ResultHeader {
  kind: "peers";
  promptTokens: number;
  newTokens: number;
  results: PeerComparison[];
}

export interface KernelEntry {
  type: string;
  bitsPerWeight: number;
  /** GMAC/s by number of tokens, weights in the L2 cache. */
  cached: Record<string, Summary>;
  /** The same, weights from memory. */
  streamed: Record<string, Summary>;
  /** Bytes of weights a second that one token draws from memory, in GB/s. */
  streamedReadGbPerS: Summary;
}

/** `npm run bench:kernels`. */
export interface KernelResults extends ResultHeader {
  kind: "kernels";
  engine: string;
  vnniAllowed: boolean;
  ceilings: Record<string, Summary>;
  results: KernelEntry[];
}

/** `npm run bench:memory`. */
export interface MemoryResults extends ResultHeader {
  kind: "memory";
  model: ModelName;
  limitBytes: number;
  /** In the order of the table; they do not all add up, see `scripts/bench/memory.ts`. */
  bytes: Record<string, number>;
}

/** `npm run bench:server`. */
export interface ServerResults extends ResultHeader {
  kind: "server";
  model: string;
  coldFirstTokenMs: Summary;
  loadMs: Summary;
  streams: { numStreams: number; tokensPerS: Summary; ttftMs: Summary }[];
}

/** The first token of a next turn. */
export interface SessionWaits {
  model: string;
  promptTokens: Summary;
  restoredTtftMs: Summary;
  recomputedTtftMs: Summary;
  /** Of the sessions that were restored, their next turn: blocks still in the pool. */
  residentTtftMs: Summary;
  /** Recomputed ÷ restored, of sessions with the same history. */
  speedup: Summary;
}

/** `npm run bench:sessions`: the first token of a next turn, and the speed of sessions that answer at once. */
export interface SessionResults extends ResultHeader, SessionWaits {
  kind: "sessions";
  /** Of a larger model beside the demo, where one was measured. */
  larger?: SessionWaits & { isRandom: boolean };
  /** One session, and several at once: tokens of all. */
  streams: { numSessions: number; tokensPerS: Summary }[];
  /** Together ÷ alone, of the same round. */
  togetherSpeedup: Summary;
}

export interface OriginRun {
  /** null = all at once, and no bound. */
  ratePerS: number | null;
  maxConcurrency: number | null;
  metrics: ServingMetrics;
  /** Of the completed requests, in the order of sending. */
  samples: Record<"startMs" | "ttftMs" | "e2elMs" | "outputTokens", number[]>;
}

/** `npm run bench:origin`: a server under load, over HTTP. `machine` is the client's. */
export interface OriginResults extends ResultHeader {
  kind: "origin";
  label: string;
  model: string;
  endpoint: Endpoint;
  promptKind: PromptKind;
  goodput: ServiceLevels | null;
  runs: OriginRun[];
}

/** `npm run bench:gpu`: by section; one that failed says why and has what it found before. */
export interface GpuResults extends ResultHeader {
  kind: "gpu";
  sections: Record<string, SectionResult>;
  summary: GpuSummary;
}

export type Results =
  | EngineResults
  | PeerResults
  | KernelResults
  | MemoryResults
  | ServerResults
  | SessionResults
  | OriginResults
  | GpuResults;
