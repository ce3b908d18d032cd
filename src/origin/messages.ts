/**
 * What the server and an engine process say to each other, as JSON over the channel that Node gives a forked process.
 *
 * The border is drawn where little crosses it: a request goes in once, and what a step made for all its readers comes
 * out in one message. Batches, block tables and logits stay with the scheduler, beside the GPU.
 */
import type { GpuOptions } from "../backends/gpu/options.ts";
import type { Embeddings, EmbedRequest } from "../protocol/embed.ts";
import type { ApiErrorFields } from "../protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest } from "../protocol/tokenize.ts";
import type { Backend } from "../serving/backend.ts";
import type { EngineStats } from "../serving/language-model.ts";
import type { SpeculationOption } from "../serving/speculation.ts";

/** What an engine is to serve, and how much of it. Where a number is null the backend's default holds. */
export interface EngineConfig {
  modelId: string;
  path: string;
  adapters: AdapterConfig[];
  /** Run on the CPU that plays a GPU. */
  software: boolean;
  contextLength: number | null;
  kvBytes: number | null;
  kvPrecision: NonNullable<GpuOptions["kvPrecision"]>;
  /** Most tokens of a step. */
  batchTokensMax: number | null;
  /** Most sequences that run at once. */
  runningMax: number | null;
  /** Most sequences that wait beyond those that run. */
  waitingMax: number;
  speculation: SpeculationOption;
  /** Of a smaller model that guesses for this one. */
  draftPath: string | null;
}

/** A LoRA adapter of the model, and what requests call the model with it. */
export interface AdapterConfig {
  name: string;
  path: string;
}

export type ToEngine =
  | { type: "load"; config: EngineConfig }
  /** Answered by `admitted` or `refused`, then by `answers`. */
  | { type: "generate"; id: number; request: GenerateRequest }
  /** Answered by `result` or `refused`. */
  | { type: "embed"; id: number; request: EmbedRequest }
  | { type: "tokenize"; id: number; request: TokenizeRequest }
  | { type: "detokenize"; id: number; request: DetokenizeRequest }
  /** Nobody wants this answer any more. Not answered. */
  | { type: "abort"; id: number };

/** What an engine that can answer says of itself. */
export interface EngineReport {
  info: ModelInfo;
  /** In the order of the configuration. */
  adapters: ModelInfo[];
  /** "webgpu". */
  engine: string;
  adapter: string;
  isSoftware: boolean;
  memory: Backend["memory"];
  kvTokens: number;
  /** Most requests that it takes at once, running and waiting. */
  requestsMax: number;
  loadMs: number;
}

/** Why an engine could not begin; for the operator, never for a client. */
export interface EngineFailure {
  kind: "no_gpu" | "model" | "fault";
  message: string;
}

/** As of the last message; sent with everything, so that nobody has to ask. */
export interface EngineState {
  stats: EngineStats;
  /** How long the step under way has taken; 0 where none is. */
  stepMs: number;
}

/** What one message says whole. Vectors are lists, because JSON has no other. */
export type EngineResult = (Omit<Embeddings, "vectors"> & { vectors: number[][] }) | Tokenized | Detokenized;

export type FromEngine =
  | { type: "ready"; report: EngineReport; state: EngineState }
  | { type: "failed"; failure: EngineFailure }
  | { type: "admitted"; id: number; state: EngineState }
  | { type: "refused"; id: number; error: ApiErrorFields }
  | { type: "result"; id: number; result: EngineResult; state: EngineState }
  /** Events of several answers, in order. */
  | { type: "answers"; answers: [id: number, events: GenerateEvent[]][]; state: EngineState }
  /** Sent again and again, also while a model loads (`state` is null then): the event loop turns. */
  | { type: "beat"; state: EngineState | null };
