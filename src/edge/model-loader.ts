/**
 * A model from its bytes to a `LanguageModel`. The file is read once, forward: header, memory plan, then the weights
 * from the stream straight into linear memory. What it was planned with is kept, so that a crashed engine can be built
 * again under the same limits and the requests it had not failed go on.
 */
import { CpuBackend } from "../backends/cpu/cpu-backend.ts";
import { ABI_VERSION } from "../backends/cpu/exports.ts";
import type { KvPrecision } from "../backends/cpu/memory-plan.ts";
import type { ByteSource } from "../model/byte-source.ts";
import { ModelError } from "../model/errors.ts";
import { type GgufFile, readGguf } from "../model/gguf-reader.ts";
import type { ModelSpec } from "../model/model-spec.ts";
import { specFromGguf } from "../model/spec-from-gguf.ts";
import { type ApiError, modelUnusable, unavailable } from "../protocol/errors.ts";
import { BackendCrash } from "../serving/backend.ts";
import { createLanguageModel, type ServedModel } from "../serving/served-model.ts";
import type { SpeculationOption } from "../serving/speculation.ts";
import { encodeChat, loadText } from "../text/index.ts";
import { type MemoryPlan, planMemory, tokenizerBytesOf } from "./budget.ts";
import { KERNELS } from "./kernels.ts";
import type { KvLayout } from "./kv-snapshot.ts";

/** Beyond those that run; more are told to come back. Each holds its prompt and a stream. */
const NUM_WAITING_MAX = 64;
const UNREADABLE_RETRY_S = 5;

export interface LoadOptions {
  id: string;
  source: ByteSource;
  budgetBytes: number;
  /** null = what the memory suggests. */
  kvPrecision: KvPrecision | null;
  speculation: SpeculationOption;
  /** Frees bytes until `plan` succeeds with them. Throws where that cannot be. */
  makeRoom<Plan>(plan: (freeBytes: number) => Plan | null): Plan;
  /** Called with every chunk; what it throws ends the loading. */
  onProgress: () => void;
}

export class LoadedModel {
  readonly model: ServedModel;
  readonly engineName: string;
  readonly kvLayout: Omit<KvLayout, "modelKey">;
  readonly loadMs: number;
  readonly #plan: MemoryPlan;
  #backend: CpuBackend;

  private constructor(model: ServedModel, backend: CpuBackend, spec: ModelSpec, plan: MemoryPlan, loadMs: number) {
    const { kvPrecision, blockTokens } = plan.engine;
    const { numLayers, numKvHeads, headDim } = spec;
    const abiVersion = ABI_VERSION;
    this.kvLayout = {
      abiVersion,
      engineName: backend.name,
      kvPrecision,
      blockTokens,
      numLayers,
      numKvHeads,
      headDim,
    };
    this.model = model;
    this.#backend = backend;
    this.engineName = backend.name;
    this.#plan = plan;
    this.loadMs = loadMs;
  }

  /** @throws ApiError 422 for a file that cannot be served, 503 for one that cannot be read right now */
  static load(options: LoadOptions): Promise<LoadedModel> {
    return withModelErrors(options.id, async () => {
      const startedAtMs = Date.now();
      const { id, source } = options;
      const file = await readGguf(source);
      const { header } = file;
      const { spec, plan, text } = await orCancel(file, () => {
        const spec = specFromGguf(header, source.name);
        const needs = { spec, tokenizerBytes: tokenizerBytesOf(header), kvPrecision: options.kvPrecision };
        const plan = options.makeRoom((freeBytes) => planMemory(id, needs, options.budgetBytes, freeBytes));
        return { spec, plan, text: loadText(header, { nowMs: () => Date.now() }) };
      });
      const { kvPrecision, contextLength } = plan.engine;
      if (kvPrecision === "q8")
        console.log(`'${id}': its KV cache is kept in q8, so that ${contextLength} tokens of context fit the memory.`);
      const { tokenizer, template } = text;
      const backend = await build(file, spec, plan, options.onProgress);
      const model = createLanguageModel({
        id,
        backend,
        tokenizer,
        embedding: { width: spec.dModel, pooling: spec.pooling },
        encodeChat: (messages, transcript, extras) =>
          encodeChat(tokenizer, template, messages, { ...extras, addGenerationPrompt: true, transcript }),
        syntax: template.dialect.syntax,
        clock: () => performance.now(),
        random: () => Math.random(),
        limits: { numWaitingMax: NUM_WAITING_MAX, speculation: options.speculation },
        onCrash: (error) =>
          console.error(`The engine of '${id}' crashed and is rebuilt; its answers go on then:`, error),
        onFault: (error, requestIds) => {
          if (!(error instanceof BackendCrash)) console.error(`A step of '${id}' failed for ${requestIds}:`, error);
        },
      });
      return new LoadedModel(model, backend, spec, plan, Date.now() - startedAtMs);
    });
  }

  /** All that the model holds or may come to hold. */
  get plannedBytes(): number {
    return this.#plan.totalBytes;
  }

  get memory(): CpuBackend["memory"] {
    return this.#backend.memory;
  }

  /** Of one token in all layers. */
  get kvTokenBytes(): number {
    return this.memory.kvBytes / (this.#plan.engine.numBlocks * this.#plan.engine.blockTokens);
  }

  /** See `CpuBackend`. */
  takeCpuSignal(): boolean {
    return this.#backend.takeCpuSignal();
  }

  /** After a crash: reads the weights again and goes on with a new engine. */
  async rebuild(source: ByteSource, onProgress: () => void): Promise<void> {
    await withModelErrors(this.model.id, async () => {
      const file = await readGguf(source);
      const spec = await orCancel(file, () => specFromGguf(file.header, source.name));
      this.#backend = await build(file, spec, this.#plan, onProgress);
      this.model.replaceBackend(this.#backend);
    });
  }

  dispose(): void {
    this.#backend.dispose();
  }

  /** The next step traps, as a bug in the engine would. For fault tests. */
  crashForTest(): void {
    const backend = this.#backend;
    backend.step = () => backend.crashForTest();
  }
}

/** Exactly as planned; the stream is read to its end or cancelled. */
function build(file: GgufFile, spec: ModelSpec, { engine }: MemoryPlan, onProgress: () => void): Promise<CpuBackend> {
  const { blockTokens, numBlocks, kvPrecision, maxBatchTokens, maxBatchSequences, contextLength } = engine;
  const options = { blockTokens, numBlocks, kvPrecision, maxBatchTokens, maxBatchSequences, contextLength };
  return CpuBackend.load({ modules: KERNELS, ...file, spec, options, onProgress });
}

/** Lets go of the stream where the weights will not be read. */
async function orCancel<T>(file: GgufFile, run: () => T): Promise<T> {
  try {
    return run();
  } catch (cause) {
    await file.data.cancel();
    throw cause;
  }
}

async function withModelErrors<T>(id: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (cause) {
    throw cause instanceof ModelError ? asApiError(id, cause) : cause;
  }
}

/** A file that is broken or unknown to us stays so; one that could not be read may be there again soon. */
function asApiError(id: string, error: ModelError): ApiError {
  if (error.kind === "unreadable")
    return unavailable(`The model '${id}' cannot be read: ${error.message}`, UNREADABLE_RETRY_S);
  return modelUnusable(id, error.message);
}
