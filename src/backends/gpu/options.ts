/** What a GPU backend is sized by, with defaults for one large GPU; all of it is allocated when a model is loaded. */
import { type KvPrecision, type KvShape, layerBlockBytes } from "../../../kernels-gpu/attention/kv-layout.ts";
import { SPLIT_KEYS } from "../../../kernels-gpu/attention/tile.ts";
import { OUTPUT_WORDS } from "../../../kernels-gpu/sampling/outputs.ts";
import type { ModelSpec } from "../../model/model-spec.ts";
import { maskWords } from "../../serving/token-mask.ts";
import { LOGIT_BIAS_MAX } from "../../serving/validate-batch.ts";

export interface GpuOptions {
  /** Tokens of a KV block. Default 16. */
  blockTokens?: number;
  /** Size of the KV pool in blocks, or … */
  numBlocks?: number;
  /** … in bytes. Default: room for `maxBatchSequences` whole contexts, at most 4 GiB. */
  kvBytes?: number;
  /** Of keys and values. Default "f16". */
  kvPrecision?: KvPrecision;
  /** Most tokens of one step. Default 2048. */
  maxBatchTokens?: number;
  /** Most sequences of one step. Default 64. */
  maxBatchSequences?: number;
  /** Longest sequence. Default: what the model was trained on; never more than that, nor than the pool holds. */
  contextLength?: number;
}

/** Sequences with up to so many tokens in a step take the decode kernels: drafts, and ends of prompts. */
export const DECODE_ROWS_MAX = 4;
/** Outputs that are computed together; a step with more does them in turns. Their logits are held. */
const OUTPUTS_MAX = 64;
/** Penalised and biased tokens of one turn, at least. */
const ADJUSTMENTS_MIN = 65_536;

/** WebGPU does not say how much memory a GPU has, so that more has to be asked for. */
const KV_BYTES_DEFAULT = 4 * 1024 ** 3;

export interface GpuPlan extends Required<Omit<GpuOptions, "kvBytes">> {
  maxOutputs: number;
  maxAdjustments: number;
  /** Splits of all rows that take the decode kernels. */
  maxDecodeItems: number;
  maxDecodeRows: number;
  /** Blocks of the longest sequence. */
  tableBlocks: number;
  /** Of a mask over the vocabulary. */
  maskWords: number;
}

/** @throws RangeError for an option out of its range */
export function planGpu(spec: ModelSpec, options: GpuOptions = {}): GpuPlan {
  const count = (name: keyof GpuOptions, value: number): number => {
    if (Number.isInteger(value) && value > 0) return value;
    throw new RangeError(`${name} is ${value}; it must be a whole number above 0.`);
  };
  const blockTokens = count("blockTokens", options.blockTokens ?? 16);
  const maxBatchTokens = count("maxBatchTokens", options.maxBatchTokens ?? 2048);
  const maxBatchSequences = count("maxBatchSequences", options.maxBatchSequences ?? 64);
  const wanted = Math.min(count("contextLength", options.contextLength ?? spec.contextLength), spec.contextLength);
  const contextBlocks = Math.ceil(wanted / blockTokens);
  const kvPrecision = options.kvPrecision ?? "f16";
  const kvShape: KvShape = { ...spec, blockTokens, precision: kvPrecision };
  const blockBytes = spec.numLayers * layerBlockBytes(kvShape);
  const affordable = Math.floor(count("kvBytes", options.kvBytes ?? KV_BYTES_DEFAULT) / blockBytes);
  if (options.numBlocks === undefined && affordable === 0) {
    throw new RangeError(`kvBytes is ${options.kvBytes}; one KV block of this model takes ${blockBytes}.`);
  }
  const numBlocks = count("numBlocks", options.numBlocks ?? Math.min(contextBlocks * maxBatchSequences, affordable));
  const contextLength = Math.min(wanted, numBlocks * blockTokens);
  const maxDecodeRows = Math.min(maxBatchTokens, maxBatchSequences * DECODE_ROWS_MAX);
  return {
    blockTokens,
    numBlocks,
    kvPrecision,
    maxBatchTokens,
    maxBatchSequences,
    contextLength,
    maxOutputs: OUTPUTS_MAX,
    maxAdjustments: Math.max(ADJUSTMENTS_MIN, contextLength + LOGIT_BIAS_MAX),
    maxDecodeRows,
    maxDecodeItems: maxDecodeRows * Math.ceil(contextLength / SPLIT_KEYS),
    tableBlocks: Math.ceil(contextLength / blockTokens),
    maskWords: maskWords(spec.vocabSize),
  };
}

/** Parts of the step's buffer start where a binding may start. */
const PART_WORDS = 64;

/** Where each list of a step lies, in words: short ones first, so that a decode's lie close together. */
export interface StepLayout {
  parts: Record<StepPart, { firstWord: number; words: number }>;
  totalWords: number;
}

export type StepPart =
  | "counts"
  | "headCounts"
  | "adjustCounts"
  | "tokens"
  | "places"
  | "headRows"
  | "spans"
  | "localSpans"
  | "decodeItems"
  | "localItems"
  | "prefillItems"
  | "loraRows"
  | "loraItems"
  | "tables"
  | "outputs"
  | "adjustments"
  | "masks"
  | "copies";

export function layOutStep(plan: GpuPlan): StepLayout {
  const { maxBatchTokens, maxOutputs, maxDecodeRows, maxDecodeItems, maxBatchSequences, tableBlocks } = plan;
  const sizes: Record<StepPart, number> = {
    counts: 1,
    headCounts: 1,
    adjustCounts: 1,
    headRows: maxOutputs,
    outputs: maxOutputs * OUTPUT_WORDS,
    spans: 4 * maxDecodeRows,
    localSpans: 4 * maxDecodeRows,
    tokens: maxBatchTokens,
    places: 2 * maxBatchTokens,
    prefillItems: 4 * maxBatchTokens,
    loraRows: maxBatchTokens,
    loraItems: 4 * maxBatchTokens,
    decodeItems: 4 * maxDecodeItems,
    localItems: 4 * maxDecodeItems,
    tables: maxBatchSequences * tableBlocks,
    adjustments: 4 * plan.maxAdjustments,
    masks: maxOutputs * plan.maskWords,
    copies: 2 * plan.numBlocks,
  };
  let firstWord = 0;
  const parts = {} as StepLayout["parts"];
  for (const [name, words] of Object.entries(sizes) as [StepPart, number][]) {
    parts[name] = { firstWord, words };
    firstWord += Math.ceil(words / PART_WORDS) * PART_WORDS;
  }
  return { parts, totalWords: firstWord };
}
