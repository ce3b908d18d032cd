/**
 * Seeded random llama models, small enough to make in a test: every shape and weight type an engine must handle, with a
 * working vocabulary and chat template, so that the whole stack runs on a file of a few hundred kilobytes.
 * Matrices are N(0, 1/in) with gains that keep activations near 1 and logits at a standard deviation near 2, and that
 * let the layers outweigh the embedding: a tied model would otherwise just repeat its last token.
 */
import { GGML_BLOCK, type GgmlTypeName, type GgufHeader } from "../../src/model/gguf.ts";
import { readGguf, tensorPieces } from "../../src/model/gguf-reader.ts";
import type { ModelSpec } from "../../src/model/model-spec.ts";
import { memorySource } from "../../src/model/source-memory.ts";
import { specFromGguf } from "../../src/model/spec-from-gguf.ts";
import { dequantize } from "./dequantize.ts";
import { f32, string, u32, type WriterTensor, type WriterValue, writeGguf } from "./gguf-writer.ts";
import { quantize } from "./quantize.ts";
import { normalSource } from "./random.ts";
import { TINY_VOCAB_SIZE, tinyVocabulary } from "./tiny-vocabulary.ts";

export interface TinyModelOptions {
  seed?: number;
  name?: string;
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
  /** Of every matrix; a function is asked by tensor name. Default F32. Vectors are F32 always. */
  weightType?: GgmlTypeName | ((tensorName: string) => GgmlTypeName);
  /** Added to the metadata, or replacing keys of it; null removes one. */
  metadata?: Record<string, WriterValue | null>;
}

const DEFAULTS = {
  seed: 1,
  name: "tiny",
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
  weightType: "F32" as GgmlTypeName | ((tensorName: string) => GgmlTypeName),
  metadata: {} as Record<string, WriterValue | null>,
};

/** dModel, ffnDim and headDim for weight types whose blocks hold 256 elements. */
export const K_QUANT_SHAPE = { dModel: 256, numHeads: 4, numKvHeads: 2, ffnDim: 512 } as const;

/** The file. */
export function tinyModelBytes(options: TinyModelOptions = {}): Uint8Array<ArrayBuffer> {
  const shape = { ...DEFAULTS, ...options };
  const headDim = options.headDim ?? shape.dModel / shape.numHeads;
  const metadata = new Map<string, WriterValue>([
    ["general.architecture", string("llama")],
    ["general.name", string(shape.name)],
    ["general.quantization_version", u32(2)],
    ["llama.block_count", u32(shape.numLayers)],
    ["llama.context_length", u32(shape.contextLength)],
    ["llama.embedding_length", u32(shape.dModel)],
    ["llama.feed_forward_length", u32(shape.ffnDim)],
    ["llama.attention.head_count", u32(shape.numHeads)],
    ["llama.attention.head_count_kv", u32(shape.numKvHeads)],
    ["llama.attention.key_length", u32(headDim)],
    ["llama.attention.value_length", u32(headDim)],
    ["llama.attention.layer_norm_rms_epsilon", f32(1e-5)],
    ["llama.rope.dimension_count", u32(headDim)],
    ["llama.rope.freq_base", f32(shape.ropeBase)],
    ...tinyVocabulary(shape.vocabSize),
  ]);
  if (shape.linearScale !== 1) {
    metadata.set("llama.rope.scaling.type", string("linear"));
    metadata.set("llama.rope.scaling.factor", f32(shape.linearScale));
  }
  for (const [key, value] of Object.entries(shape.metadata)) {
    if (value === null) metadata.delete(key);
    else metadata.set(key, value);
  }
  return writeGguf({ metadata, tensors: makeTensors({ ...shape, headDim }) });
}

type Shape = typeof DEFAULTS & { headDim: number };

function makeTensors(shape: Shape): WriterTensor[] {
  const normal = normalSource(shape.seed);
  const { dModel, ffnDim, vocabSize } = shape;
  const qDim = shape.numHeads * shape.headDim;
  const kvDim = shape.numKvHeads * shape.headDim;

  const matrix = (name: string, out: number, inner: number, gain: number): WriterTensor => {
    const type = typeof shape.weightType === "function" ? shape.weightType(name) : shape.weightType;
    if (inner % GGML_BLOCK[type].elements !== 0) {
      throw new Error(`${name} has rows of ${inner}; ${type} needs a multiple of ${GGML_BLOCK[type].elements}`);
    }
    const deviation = gain / Math.sqrt(inner);
    const values = Float32Array.from({ length: out * inner }, () => normal() * deviation);
    return { name, type, dims: [inner, out], data: quantize(type, values) };
  };
  const norm = (name: string): WriterTensor => {
    const values = Float32Array.from({ length: dModel }, () => 1 + 0.15 * normal());
    return { name, type: "F32", dims: [dModel], data: quantize("F32", values) };
  };

  const tensors: WriterTensor[] = [matrix("token_embd.weight", vocabSize, dModel, 2), norm("output_norm.weight")];
  if (!shape.tied) tensors.push(matrix("output.weight", vocabSize, dModel, 2));
  if (shape.ropeFreqs) tensors.push(ropeFreqs(shape.headDim));
  for (let i = 0; i < shape.numLayers; i++) {
    tensors.push(
      norm(`blk.${i}.attn_norm.weight`),
      matrix(`blk.${i}.attn_q.weight`, qDim, dModel, 1.5),
      matrix(`blk.${i}.attn_k.weight`, kvDim, dModel, 1.5),
      matrix(`blk.${i}.attn_v.weight`, kvDim, dModel, 1.5),
      matrix(`blk.${i}.attn_output.weight`, dModel, qDim, 1.5),
      norm(`blk.${i}.ffn_norm.weight`),
      matrix(`blk.${i}.ffn_gate.weight`, ffnDim, dModel, 1.5),
      matrix(`blk.${i}.ffn_up.weight`, ffnDim, dModel, 1.5),
      matrix(`blk.${i}.ffn_down.weight`, dModel, ffnDim, 1.5),
    );
  }
  return tensors;
}

/** Llama 3's shape of factors: 1 for fast components, growing to 8 for slow ones. */
function ropeFreqs(headDim: number): WriterTensor {
  const numPairs = headDim / 2;
  const values = Float32Array.from({ length: numPairs }, (_, i) => {
    const share = numPairs === 1 ? 0 : i / (numPairs - 1);
    return share < 0.4 ? 1 : 1 + 7 * ((share - 0.4) / 0.6);
  });
  return { name: "rope_freqs.weight", type: "F32", dims: [numPairs], data: quantize("F32", values) };
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
  const { header, data } = await readGguf(memorySource(bytes, name));
  const raw = new Map(header.tensors.map((tensor) => [tensor, new Uint8Array(tensor.sizeBytes)]));
  for await (const piece of tensorPieces(header, data)) raw.get(piece.tensor)!.set(piece.bytes, piece.offsetBytes);
  const weights: Weights = new Map();
  for (const [tensor, stored] of raw) weights.set(tensor.name, dequantize(tensor.type, stored));
  return { header, spec: specFromGguf(header, name), weights };
}
