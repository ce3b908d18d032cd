/**
 * Where everything lies in linear memory, known before a byte is loaded:
 *
 *   [module | descriptor | rope frequencies | weights | KV pool | scratch | step | results]
 *
 * The plan is exact: the backend allocates `totalBytes` once and never grows. Sizes that Rust computes too (packed
 * matrices, KV block, scratch) are compared with it at load, so the two cannot drift apart.
 */
import { ModelError } from "../../model/errors.ts";
import { GGML_BLOCK, type GgufTensorInfo } from "../../model/gguf.ts";
import type { ModelSpec } from "../../model/model-spec.ts";
import { NUM_DRAFTS_MAX } from "../../serving/draft-policy.ts";
import { MODULE_BYTES, PAGE_BYTES, packedBytes } from "./exports.ts";
import { descriptorBytes, ropeTables, storedTensors } from "./model-descriptor.ts";
import { RESULT_WORDS, stepCapacityWords } from "./step-encoding.ts";

/**
 * Of K and V. "q8" is int8 with a scale for each token and head, "i16" the same with 13 bits of 16: as precise as "f16" and
 * faster. In the order of their words in the descriptor.
 */
export const KV_PRECISIONS = ["f32", "f16", "q8", "i16"] as const;
export type KvPrecision = (typeof KV_PRECISIONS)[number];

export interface CpuOptions {
  /** Tokens of a KV block. Default 16. */
  blockTokens?: number;
  /** Size of the KV pool in blocks, or … */
  numBlocks?: number;
  /** … in bytes. Without either: room for `maxBatchSequences` whole contexts, or what the budget leaves. */
  kvBytes?: number;
  /** Default "i16". */
  kvPrecision?: KvPrecision;
  /** Most tokens of one step. Default 64. */
  maxBatchTokens?: number;
  /** Most sequences of one step. Default 8. */
  maxBatchSequences?: number;
  /** Longest sequence. Default: what the model was trained on. Never more than that, nor than the pool holds. */
  contextLength?: number;
  /** Most bytes of linear memory. Default: what 32-bit WebAssembly can address. */
  memoryBudgetBytes?: number;
}

export interface CpuMemoryPlan {
  blockTokens: number;
  numBlocks: number;
  kvPrecision: KvPrecision;
  maxBatchTokens: number;
  maxBatchSequences: number;
  contextLength: number;
  /** Rows of logits, and outputs, of one call into WASM. */
  maxLogitRows: number;
  /** All layers of one block. */
  blockBytes: number;
  addresses: PlanAddresses;
  stepWords: number;
  /** By owner; they add up to `totalBytes`. Weights include the descriptor and tables, scratch the module's own part. */
  weightsBytes: number;
  kvBytes: number;
  scratchBytes: number;
  /** Whole pages. */
  totalBytes: number;
  /** Of the scratch region alone, as `Scratch::bytes` counts it. */
  scratchRegionBytes: number;
}

export interface PlanAddresses {
  model: number;
  ropeFrequencies: number;
  /** Of each packed matrix or vector, by tensor name. */
  tensors: Map<string, number>;
  kv: number;
  scratch: number;
  step: number;
  results: number;
}

/** WebAssembly memory is addressed with 32 bits; the last page stays unused so that no address wraps. */
const MEMORY_BYTES_MAX = 4 * 1024 ** 3 - PAGE_BYTES;
/** The LM head of several rows shares each weight read; beyond this, their logits cost more memory than that saves. */
const LOGITS_BYTES_MAX = 8 * 1024 * 1024;
/** A decode with all its drafts is one call. */
const LOGIT_ROWS_WANTED = 1 + NUM_DRAFTS_MAX;
const REGION_ALIGNMENT = 64;
/** Of an attention tile, as in `wasm/src/kernels/activations.rs`. */
const ATTENTION_ROWS = 32;
const ATTENTION_SPAN = 64;

const align = (bytes: number) => Math.ceil(bytes / REGION_ALIGNMENT) * REGION_ALIGNMENT;

/**
 * @throws ModelError `over_budget` with the numbers when weights, scratch and one KV block do not fit
 * @throws ModelError `unsupported_architecture` for shapes the kernels cannot run
 * @throws RangeError for an option out of its range
 */
export function planCpuMemory(spec: ModelSpec, options: CpuOptions = {}): CpuMemoryPlan {
  checkShape(spec);
  const blockTokens = positive("blockTokens", options.blockTokens ?? 16);
  const maxBatchTokens = positive("maxBatchTokens", options.maxBatchTokens ?? 64);
  const maxBatchSequences = positive("maxBatchSequences", options.maxBatchSequences ?? 8);
  const kvPrecision = options.kvPrecision ?? "i16";
  const wantedContext = Math.min(
    positive("contextLength", options.contextLength ?? spec.contextLength),
    spec.contextLength,
  );
  const budgetBytes = Math.min(
    positive("memoryBudgetBytes", options.memoryBudgetBytes ?? MEMORY_BYTES_MAX),
    MEMORY_BYTES_MAX,
  );

  const logitsBytes = align4(spec.vocabSize) * 4;
  const maxLogitRows = Math.min(
    Math.max(maxBatchSequences, LOGIT_ROWS_WANTED),
    Math.max(1, Math.floor(LOGITS_BYTES_MAX / logitsBytes)),
  );
  const blockBytes = kvBlockBytes(spec, blockTokens, kvPrecision);
  const scratchRegionBytes = scratchBytes(spec, { maxBatchTokens, maxLogitRows });
  const weights = layOutWeights(spec);
  const capacity = { blockTokens, maxBatchTokens, maxBatchSequences, maxLogitRows };
  const { vocabSize } = spec;

  const layOut = (numBlocks: number): CpuMemoryPlan => {
    const contextLength = Math.min(wantedContext, numBlocks * blockTokens);
    const stepWords = stepCapacityWords({ ...capacity, numBlocks, contextLength, vocabSize });
    const kv = weights.end;
    const scratch = align(kv + numBlocks * blockBytes);
    const step = scratch + scratchRegionBytes;
    const results = align(step + stepWords * 4);
    const totalBytes = Math.ceil((results + maxLogitRows * RESULT_WORDS * 4) / PAGE_BYTES) * PAGE_BYTES;
    const weightsBytes = weights.end - MODULE_BYTES;
    const kvBytes = numBlocks * blockBytes;
    return {
      ...capacity,
      kvPrecision,
      numBlocks,
      contextLength,
      blockBytes,
      addresses: { ...weights.addresses, kv, scratch, step, results },
      stepWords,
      weightsBytes,
      kvBytes,
      scratchBytes: totalBytes - weightsBytes - kvBytes,
      totalBytes,
      scratchRegionBytes,
    };
  };

  const explicitBlocks = chosenBlocks(options, blockBytes);
  const fullBlocks = maxBatchSequences * Math.ceil(wantedContext / blockTokens);
  const plan = layOut(explicitBlocks ?? fullBlocks);
  if (plan.totalBytes <= budgetBytes) return plan;
  if (explicitBlocks !== null) throw overBudget(plan, budgetBytes);
  const numBlocks = mostBlocks(layOut, fullBlocks, budgetBytes);
  if (numBlocks === 0) throw overBudget(layOut(1), budgetBytes);
  return layOut(numBlocks);
}

/** Largest number of blocks whose plan fits; 0 = none. A plan grows with its blocks, so bisection finds it. */
function mostBlocks(layOut: (numBlocks: number) => CpuMemoryPlan, most: number, budgetBytes: number): number {
  let [fits, tooMany] = [0, most];
  while (tooMany - fits > 1) {
    const middle = Math.floor((fits + tooMany) / 2);
    if (layOut(middle).totalBytes <= budgetBytes) fits = middle;
    else tooMany = middle;
  }
  return fits;
}

function chosenBlocks({ numBlocks, kvBytes }: CpuOptions, blockBytes: number): number | null {
  if (numBlocks !== undefined && kvBytes !== undefined) {
    throw new RangeError("Give numBlocks or kvBytes, not both: each of them sets the size of the KV pool.");
  }
  if (numBlocks !== undefined) return positive("numBlocks", numBlocks);
  if (kvBytes === undefined) return null;
  const fitting = Math.floor(positive("kvBytes", kvBytes) / blockBytes);
  if (fitting === 0) throw new RangeError(`kvBytes is ${kvBytes}, less than one KV block of ${blockBytes} bytes.`);
  return fitting;
}

function layOutWeights(spec: ModelSpec) {
  const model = MODULE_BYTES;
  const ropeFrequencies = align(model + descriptorBytes(spec.numLayers));
  let end = align(ropeFrequencies + (ropeDims(spec) / 2) * 8);
  const tensors = new Map<string, number>();
  for (const tensor of storedTensors(spec)) {
    tensors.set(tensor.name, end);
    end = align(end + tensorBytes(tensor));
  }
  return { addresses: { model, ropeFrequencies, tensors }, end };
}

/** Vectors stay as they are, f32; matrices are packed. */
function tensorBytes({ type, dims, sizeBytes }: GgufTensorInfo): number {
  if (dims.length === 1) return sizeBytes;
  return packedBytes(type, dims[1]!, dims[0]!, GGML_BLOCK[type].elements);
}

/** Rotated components of a head, for all rope tables together. */
function ropeDims(spec: ModelSpec): number {
  return ropeTables(spec).reduce((sum, table) => sum + table.numDims, 0);
}

function kvBlockBytes(spec: ModelSpec, blockTokens: number, precision: KvPrecision): number {
  // Of four tokens, as `wasm/src/kv_pool.rs` has it; integers begin with their scales.
  const groupBytes = {
    f32: 16 * spec.headDim,
    f16: 8 * spec.headDim,
    q8: 4 * spec.headDim + 16,
    i16: 8 * spec.headDim + 16,
  }[precision];
  return 2 * spec.numLayers * spec.numKvHeads * (align4(blockTokens) / 4) * groupBytes;
}

/** The buffers of `wasm/src/scratch.rs`, in its order. */
function scratchBytes(spec: ModelSpec, options: { maxBatchTokens: number; maxLogitRows: number }): number {
  const t = options.maxBatchTokens;
  const qDim = spec.numHeads * spec.headDim;
  const kvDim = spec.numKvHeads * spec.headDim;
  const widest = Math.max(spec.dModel, qDim, spec.ffnDim);
  const blocks = Math.ceil(widest / 32);
  const logits = align4(spec.vocabSize);
  const buffers = [
    t * spec.dModel * 4, // x
    t * widest * 4, // normed
    t * qDim * 4, // q
    t * kvDim * 4, // k
    t * kvDim * 4, // v
    t * spec.ffnDim * 4, // gate
    t * Math.max(spec.ffnDim, spec.dModel) * 4, // up
    t * blocks * 64, // act_blocks
    t * blocks * 64, // quants16
    blocks * 64, // planes
    t * ropeDims(spec) * 4, // rope
    ATTENTION_ROWS * (2 * spec.headDim + ATTENTION_SPAN) * 4, // attention
    options.maxLogitRows * logits * 4, // logits
    logits * 4, // candidates
    spec.vocabSize * 4, // tokens
    spec.vocabSize * 4, // counts
  ];
  return buffers.reduce((sum, bytes) => sum + align(bytes), 0);
}

/** Kernels work on 4 values at a time. */
function checkShape(spec: ModelSpec): void {
  for (const [name, value] of Object.entries({ dModel: spec.dModel, ffnDim: spec.ffnDim, headDim: spec.headDim })) {
    if (value % 4 !== 0) {
      throw new ModelError(
        "unsupported_architecture",
        `The model's ${name} is ${value}; the CPU engine needs a multiple of 4.`,
      );
    }
  }
}

function overBudget(plan: CpuMemoryPlan, budgetBytes: number): ModelError {
  const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
  return new ModelError(
    "over_budget",
    `The model needs ${mb(plan.totalBytes)} of memory (weights ${mb(plan.weightsBytes)}, KV cache of ` +
      `${plan.numBlocks} ${plan.numBlocks === 1 ? "block" : "blocks"} ${mb(plan.kvBytes)}, scratch ` +
      `${mb(plan.scratchBytes)}), but the budget is ${mb(budgetBytes)}. ` +
      "Use a smaller model or quantization, a smaller KV cache, or raise the budget.",
  );
}

function positive(name: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1)
    throw new RangeError(`${name} is ${value}; it must be a whole number of at least 1.`);
  return value;
}

const align4 = (n: number) => Math.ceil(n / 4) * 4;
