/**
 * Seeded random models, small enough to make in a test: every architecture, shape and weight type an engine must handle,
 * with a working vocabulary and chat template, so that the whole stack runs on a file of a few hundred kilobytes.
 * Matrices are N(0, 1/in) with gains that keep activations near 1 and logits at a standard deviation near 2, and that
 * let the layers outweigh the embedding: a tied model would otherwise just repeat its last token.
 */
import { ARCHITECTURES, type ArchitectureTable, type TensorRule, type Widths } from "../../src/model/architectures.ts";
import { dequantize } from "../../src/model/dequantize.ts";
import { GGML_BLOCK, type GgmlTypeName, type GgufHeader } from "../../src/model/gguf.ts";
import { readGguf, tensorPieces } from "../../src/model/gguf-reader.ts";
import { LAYER_ROLES, type LayerRole, type ModelSpec } from "../../src/model/model-spec.ts";
import { memorySource } from "../../src/model/source-memory.ts";
import { specFromGguf } from "../../src/model/spec-from-gguf.ts";
import { f32, string, u32, type WriterTensor, type WriterValue, writeGguf } from "./gguf-writer.ts";
import { quantize } from "./quantize.ts";
import { normalSource } from "./random.ts";
import { TINY_VOCAB_SIZE, tinyVocabulary } from "./tiny-vocabulary.ts";

export interface TinyModelOptions {
  seed?: number;
  name?: string;
  /** Default "llama". */
  architecture?: string;
  numLayers?: number;
  dModel?: number;
  numHeads?: number;
  /** = numHeads: MHA; 1: MQA; between: GQA. */
  numKvHeads?: number;
  /** Default dModel / numHeads. */
  headDim?: number;
  ffnDim?: number;
  /** At least `TINY_VOCAB_SIZE`; what is over becomes unused tokens. */
  vocabSize?: number;
  contextLength?: number;
  /** Default true. */
  tied?: boolean;
  ropeBase?: number;
  /** Adds a `rope_freqs` tensor as Llama 3 has it. */
  ropeFreqs?: boolean;
  /** `rope.scaling.factor` of linear scaling. */
  linearScale?: number;
  /** `attention.sliding_window`; 0 = none. */
  slidingWindow?: number;
  /** Phi-3's factors for contexts up to so many tokens, and others beyond; 0 = none. */
  longRopeBeyond?: number;
  /** q, k and v in one tensor. Default: where converters write them so. */
  fusedQkv?: boolean;
  /** Of every matrix; a function is asked by tensor name. Default F32. Vectors are F32 always. */
  weightType?: GgmlTypeName | ((tensorName: string) => GgmlTypeName);
  /** Added to the metadata, or replacing keys of it; null removes one. */
  metadata?: Record<string, WriterValue | null>;
}

const DEFAULTS = {
  seed: 1,
  name: "tiny",
  architecture: "llama",
  numLayers: 2,
  dModel: 64,
  numHeads: 4,
  numKvHeads: 2,
  ffnDim: 96,
  vocabSize: TINY_VOCAB_SIZE,
  contextLength: 256,
  tied: true,
  ropeBase: 10_000,
  ropeFreqs: false,
  linearScale: 1,
  slidingWindow: 0,
  longRopeBeyond: 0,
  weightType: "F32" as GgmlTypeName | ((tensorName: string) => GgmlTypeName),
  metadata: {} as Record<string, WriterValue | null>,
};

/** dModel, ffnDim and headDim for weight types whose blocks hold 256 elements. */
export const K_QUANT_SHAPE = { dModel: 256, numHeads: 4, numKvHeads: 2, ffnDim: 512 } as const;

/** The file. */
export function tinyModelBytes(options: TinyModelOptions = {}): Uint8Array<ArrayBuffer> {
  const shape = { ...DEFAULTS, ...options };
  const headDim = options.headDim ?? shape.dModel / shape.numHeads;
  const { architecture } = shape;
  const table = ARCHITECTURES[architecture]!;
  const key = (name: string) => `${architecture}.${name}`;
  const metadata = new Map<string, WriterValue>([
    ["general.architecture", string(architecture)],
    ["general.name", string(shape.name)],
    ["general.quantization_version", u32(2)],
    [key("block_count"), u32(shape.numLayers)],
    [key("context_length"), u32(shape.contextLength)],
    [key("embedding_length"), u32(shape.dModel)],
    [key("feed_forward_length"), u32(shape.ffnDim)],
    [key("attention.head_count"), u32(shape.numHeads)],
    [key("attention.head_count_kv"), u32(shape.numKvHeads)],
    [key("attention.key_length"), u32(headDim)],
    [key("attention.value_length"), u32(headDim)],
    [key(`attention.layer_norm_${table.norm === "rms" ? "rms_" : ""}epsilon`), f32(1e-5)],
    ...ropeKeys(table, headDim, shape.ropeBase).map(([name, value]) => [key(name), value] as const),
    ...tinyVocabulary(shape.vocabSize),
  ]);
  if (shape.linearScale !== 1) {
    metadata.set(key("rope.scaling.type"), string("linear"));
    metadata.set(key("rope.scaling.factor"), f32(shape.linearScale));
  }
  if (shape.longRopeBeyond > 0) {
    metadata.set(key("rope.scaling.type"), string("longrope"));
    metadata.set(key("rope.scaling.original_context_length"), u32(shape.longRopeBeyond));
    metadata.set(key("rope.scaling.attn_factor"), f32(1.2));
  }
  if (shape.slidingWindow > 0) metadata.set(key("attention.sliding_window"), u32(shape.slidingWindow));
  for (const [name, value] of Object.entries(shape.metadata)) {
    if (value === null) metadata.delete(name);
    else metadata.set(name, value);
  }
  const isFused = architecture === "phi3" || architecture === "gpt2";
  const tensors = makeTensors({ ...shape, headDim, fusedQkv: options.fusedQkv ?? isFused }, table);
  return writeGguf({ metadata, tensors });
}

function ropeKeys(table: ArchitectureTable, headDim: number, base: number): [string, WriterValue][] {
  if (table.rope === null) return [];
  return [
    ["rope.dimension_count", u32(headDim)],
    ["rope.freq_base", f32(base)],
  ];
}

type TensorShape = typeof DEFAULTS & { headDim: number; fusedQkv: boolean };

/** Standard deviations: of biases, and of norm weights around 1. */
const BIAS_DEVIATION = 0.3;
const NORM_DEVIATION = 0.15;
/** The token embedding and the head outweigh a layer's matrices, as in trained models. */
const EMBEDDING_GAIN = 2;
const LAYER_GAIN = 1.5;

function makeTensors(shape: TensorShape, table: ArchitectureTable): WriterTensor[] {
  const normal = normalSource(shape.seed);
  const widths: Widths = {
    dModel: shape.dModel,
    ffnDim: shape.ffnDim,
    headDim: shape.headDim,
    vocabSize: shape.vocabSize,
    contextLength: shape.contextLength,
    qDim: shape.numHeads * shape.headDim,
    kvDim: shape.numKvHeads * shape.headDim,
  };

  const matrix = (name: string, out: number, inner: number, gain: number): WriterTensor => {
    const type = typeof shape.weightType === "function" ? shape.weightType(name) : shape.weightType;
    if (inner % GGML_BLOCK[type].elements !== 0) {
      throw new Error(`${name} has rows of ${inner}; ${type} needs a multiple of ${GGML_BLOCK[type].elements}`);
    }
    const deviation = gain / Math.sqrt(inner);
    const values = Float32Array.from({ length: out * inner }, () => normal() * deviation);
    return { name, type, dims: [inner, out], data: quantize(type, values) };
  };
  const vector = (name: string, length: number): WriterTensor => {
    const [mean, deviation] = name.endsWith(".bias") ? [0, BIAS_DEVIATION] : [1, NORM_DEVIATION];
    const values = Float32Array.from({ length }, () => mean + deviation * normal());
    return { name, type: "F32", dims: [length], data: quantize("F32", values) };
  };
  const make = (rule: TensorRule, prefix = "", gain = LAYER_GAIN): WriterTensor => {
    const name = prefix + rule.name;
    if ("vector" in rule.shape) return vector(name, widths[rule.shape.vector]);
    return matrix(name, widths[rule.shape.out], widths[rule.shape.in], gain);
  };

  const tensors: WriterTensor[] = [make(table.tokenEmbedding, "", EMBEDDING_GAIN), make(table.outputNorm)];
  if (table.outputNormBias !== null) tensors.push(make(table.outputNormBias));
  if (table.positionEmbedding !== null) tensors.push(make(table.positionEmbedding, "", EMBEDDING_GAIN));
  if (!shape.tied) tensors.push(make(table.output, "", EMBEDDING_GAIN));
  if (shape.ropeFreqs) tensors.push(ropeFactors("rope_freqs.weight", shape.headDim, 8));
  if (shape.longRopeBeyond > 0) {
    tensors.push(ropeFactors("rope_factors_short.weight", shape.headDim, 2));
    tensors.push(ropeFactors("rope_factors_long.weight", shape.headDim, 16));
  }
  const fused = table.fused.filter(({ roles }) => shape.fusedQkv || !roles[0]!.startsWith("attn"));
  for (let i = 0; i < shape.numLayers; i++) {
    const prefix = `blk.${i}.`;
    for (const role of LAYER_ROLES) {
      const whole = fused.find(({ roles }) => roles.includes(role));
      const rule = table.layer[role];
      if (rule === undefined || (whole !== undefined && whole.roles[0] !== role)) continue;
      tensors.push(whole === undefined ? make(rule, prefix) : makeFused(whole.roles, prefix + whole.name));
    }
  }
  return tensors;

  function makeFused(roles: readonly LayerRole[], name: string): WriterTensor {
    const shapes = roles.map((role) => table.layer[role]!.shape);
    const numRows = shapes.reduce((sum, part) => sum + widths["vector" in part ? part.vector : part.out], 0);
    const first = shapes[0]!;
    return "vector" in first ? vector(name, numRows) : matrix(name, numRows, widths[first.in], LAYER_GAIN);
  }
}

/** Llama 3's shape of factors: 1 for fast components, growing to `most` for slow ones. */
function ropeFactors(name: string, headDim: number, most: number): WriterTensor {
  const numPairs = headDim / 2;
  const values = Float32Array.from({ length: numPairs }, (_, i) => {
    const share = numPairs === 1 ? 0 : i / (numPairs - 1);
    return share < 0.4 ? 1 : 1 + (most - 1) * ((share - 0.4) / 0.6);
  });
  return { name, type: "F32", dims: [numPairs], data: quantize("F32", values) };
}

/** Weights by tensor name, dequantized, in the order of the file. */
export type Weights = Map<string, Float32Array>;

export interface TinyModel {
  bytes: Uint8Array<ArrayBuffer>;
  header: GgufHeader;
  spec: ModelSpec;
  weights: Weights;
}

/** The file, read back: header, spec, and what the stored weights mean. */
export async function tinyModel(options: TinyModelOptions = {}): Promise<TinyModel> {
  const bytes = tinyModelBytes(options);
  return { bytes, ...(await readWeights(bytes, options.name ?? DEFAULTS.name)) };
}

export async function readWeights(bytes: Uint8Array, name: string): Promise<Omit<TinyModel, "bytes">> {
  const { header, weights } = await readTensors(bytes, name);
  return { header, spec: specFromGguf(header, name), weights };
}

/** Of any GGUF file. */
export async function readTensors(bytes: Uint8Array, name: string): Promise<Omit<TinyModel, "bytes" | "spec">> {
  const { header, data } = await readGguf(memorySource(bytes, name));
  const raw = new Map(header.tensors.map((tensor) => [tensor, new Uint8Array(tensor.sizeBytes)]));
  for await (const piece of tensorPieces(header, data)) raw.get(piece.tensor)!.set(piece.bytes, piece.offsetBytes);
  const weights: Weights = new Map();
  for (const [tensor, stored] of raw) weights.set(tensor.name, dequantize(tensor.type, stored));
  return { header, weights };
}
