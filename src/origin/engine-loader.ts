/** From a file to a model that can answer, on a GPU of its own. Runs in the engine's process. */
import { adapterLabel } from "../backends/gpu/adapter.ts";
import { GpuDevice } from "../backends/gpu/device.ts";
import { GpuBackend } from "../backends/gpu/gpu-backend.ts";
import type { LoraFile } from "../backends/gpu/lora-weights.ts";
import { DECODE_ROWS_MAX, type GpuOptions } from "../backends/gpu/options.ts";
import { capabilitiesOf } from "../model/capabilities.ts";
import { describeModel } from "../model/describe.ts";
import type { GgufHeader } from "../model/gguf.ts";
import { type GgufFile, readGguf } from "../model/gguf-reader.ts";
import { loraFromGguf } from "../model/lora-from-gguf.ts";
import type { ModelSpec } from "../model/model-spec.ts";
import { fileSource } from "../model/source-file.ts";
import { specFromGguf } from "../model/spec-from-gguf.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import { PLAIN_REQUEST } from "../protocol/plain-request.ts";
import { type Backend, BackendCrash } from "../serving/backend.ts";
import { createLanguageModel, type ServedModel } from "../serving/served-model.ts";
import { encodeChat, loadText } from "../text/index.ts";
import { loadDraftBackend } from "./draft-loader.ts";
import type { AdapterConfig, EngineConfig, EngineReport } from "./messages.ts";

/** More than take the kernels of a decode, so that both kinds run. */
const WARM_UP_TOKENS = DECODE_ROWS_MAX + 4;

export interface LoadedEngine {
  model: ServedModel;
  report: EngineReport;
}

export interface EngineLoaderOptions {
  /** The GPU is lost, and this process with it. */
  onCrash: (error: BackendCrash) => void;
  log: (what: string, cause: unknown) => void;
}

/**
 * The GPU is opened before the file is, because its absence is what an operator most often has to hear of.
 *
 * @throws NoGpuError; ModelError for a file that cannot be read or served, an adapter that is not the model's; Error where the GPU has no room
 */
export async function loadEngine(config: EngineConfig, { onCrash, log }: EngineLoaderOptions): Promise<LoadedEngine> {
  const startedAtMs = performance.now();
  const { modelId, path, software, waitingMax, speculation, draftPath } = config;
  const device = await GpuDevice.open({ software });
  const source = fileSource(path);
  const { header, data } = await readGguf(source);
  let loras: OpenAdapter[] = [];
  try {
    const spec = specFromGguf(header, source.name);
    loras = await openAdapters(config.adapters, spec);
    const { tokenizer, template } = loadText(header, { nowMs: () => Date.now() });
    const info = infoOf(modelId, header, source.sizeBytes);
    const backend = await GpuBackend.load({
      device,
      header,
      data,
      spec,
      options: gpuOptionsOf(config),
      adapters: loras,
    });
    const target = {
      tokenizer,
      vocabSize: backend.limits.vocabSize,
      contextLength: backend.limits.contextLength,
    };
    const draft = draftPath === null ? null : await loadDraftBackend({ path: draftPath, config, target });
    const model = createLanguageModel({
      id: modelId,
      backend,
      ...(draft !== null && { draftBackend: draft }),
      adapters: loras.map(({ name }) => name),
      tokenizer,
      embedding: { width: spec.dModel, pooling: spec.pooling },
      encodeChat: (messages, transcript, extras) =>
        encodeChat(tokenizer, template, messages, { ...extras, addGenerationPrompt: true, transcript }),
      syntax: template.dialect.syntax,
      clock: () => performance.now(),
      random: () => Math.random(),
      limits: { numWaitingMax: waitingMax, speculation },
      onCrash,
      onFault: (error, requestIds) => {
        if (requestIds.length === 0) log(`The draft model of '${modelId}' failed; nothing is guessed any more`, error);
        else if (!(error instanceof BackendCrash)) log(`A step of '${modelId}' failed for ${requestIds}`, error);
      },
    });
    await warmUp(model, modelId);
    // Others have the same kernels.
    if (loras.length > 0) await warmUp(model, loras[0]!.name);
    const { contextLength } = model;
    const { limits, name: engine, adapter } = backend;
    const memory = draft === null ? backend.memory : sumOf(backend.memory, draft.memory);
    const report: EngineReport = {
      info: { ...info, contextLength },
      adapters: loras.map(({ name, header: own, sizeBytes }) => ({
        ...infoOf(name, own, sizeBytes),
        parent: modelId,
        contextLength,
      })),
      engine,
      adapter: adapterLabel(adapter),
      isSoftware: adapter.isSoftware,
      memory,
      kvTokens: limits.numBlocks * limits.blockTokens,
      requestsMax: limits.maxBatchSequences + waitingMax,
      loadMs: Math.round(performance.now() - startedAtMs),
    };
    return { model, report };
  } catch (cause) {
    await Promise.all([data, ...loras.map((lora) => lora.data)].map((each) => each.cancel()));
    throw cause;
  }
}

/**
 * A short answer to nobody: kernels are compiled when a step first needs them, and a GPU that computes nothing should be
 * found out before anybody is told that it is ready.
 */
async function warmUp(model: ServedModel, name: string): Promise<void> {
  const numTokens = Math.min(WARM_UP_TOKENS, model.contextLength - 2);
  const generation = model.generate({
    ...PLAIN_REQUEST,
    requestId: "warm-up",
    model: name,
    prompts: [{ kind: "tokens", tokens: Array.from({ length: numTokens }, (_, id) => id) }],
    maxTokens: 2,
    ignoreEos: true,
    cacheSalt: "warm-up",
  });
  for (let event = await generation.next(); event !== null; event = await generation.next()) {
    if (event.type === "error") throw new Error(`The model does not compute: ${event.message}`);
  }
}

function sumOf(a: Backend["memory"], b: Backend["memory"]): Backend["memory"] {
  return {
    weightsBytes: a.weightsBytes + b.weightsBytes,
    kvBytes: a.kvBytes + b.kvBytes,
    scratchBytes: a.scratchBytes + b.scratchBytes,
  };
}

interface OpenAdapter extends LoraFile {
  name: string;
  sizeBytes: number | null;
}

/** All, or none stays open. */
async function openAdapters(adapters: readonly AdapterConfig[], spec: ModelSpec): Promise<OpenAdapter[]> {
  const open: OpenAdapter[] = [];
  let file: GgufFile | null = null;
  try {
    for (const { name, path } of adapters) {
      const source = fileSource(path);
      file = await readGguf(source);
      open.push({ name, ...file, pairs: loraFromGguf(file.header, source.name, spec), sizeBytes: source.sizeBytes });
    }
    return open;
  } catch (cause) {
    await Promise.all([file, ...open].map((each) => each?.data.cancel()));
    throw cause;
  }
}

function gpuOptionsOf({ contextLength, kvBytes, kvPrecision, batchTokensMax, runningMax }: EngineConfig): GpuOptions {
  return {
    kvPrecision,
    ...(contextLength !== null && { contextLength }),
    ...(kvBytes !== null && { kvBytes }),
    ...(batchTokensMax !== null && { maxBatchTokens: batchTokensMax }),
    ...(runningMax !== null && { maxBatchSequences: runningMax }),
  };
}

function infoOf(id: string, header: GgufHeader, sizeBytes: number | null): Omit<ModelInfo, "contextLength"> {
  const { numParameters, quantization } = describeModel(header);
  const textOf = (key: string) => {
    const value = header.metadata.get(key);
    return typeof value === "string" ? value : null;
  };
  return {
    id,
    created: Math.floor(Date.now() / 1000),
    parent: null,
    ownedBy: "runnel",
    description: textOf("general.name"),
    architecture: textOf("general.architecture"),
    quantization,
    numParameters,
    sizeBytes,
    // Reading a file of many gigabytes once more, only to hash it, would double the start.
    sha256: null,
    license: textOf("general.license"),
    capabilities: capabilitiesOf(header),
    residency: "gpu",
  };
}
