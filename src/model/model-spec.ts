/**
 * What a forward pass needs to know of an architecture, as data. A new architecture of the same family is a new value
 * of this type, not new code. Built from GGUF metadata by `spec-from-gguf.ts`; read by every backend.
 */
import type { GgufTensorInfo } from "./gguf.ts";

export interface ModelSpec {
  /** GGUF `general.architecture`, such as "llama". */
  architecture: string;
  numLayers: number;
  /** Width of the residual stream (embedding_length). */
  dModel: number;
  numHeads: number;
  /** = numHeads: MHA; 1: MQA; between: GQA. Divides numHeads. */
  numKvHeads: number;
  /** Size of one head of q, k and v. Not always dModel / numHeads. */
  headDim: number;
  /** Width of the feed-forward layer. */
  ffnDim: number;
  vocabSize: number;
  /** Positions the model was trained on. */
  contextLength: number;
  normEpsilon: number;
  rope: RopeSpec;
  /** SwiGLU: silu(gate) · up. */
  activation: "silu";
  /** The LM head is token_embd itself. */
  tiedHead: boolean;
  /** Where each role's weights are in the file. */
  tensors: ModelTensors;
}

export interface RopeSpec {
  base: number;
  /** Leading components of a head that are rotated; headDim = all. */
  numDims: number;
  /** "interleaved": pairs (2i, 2i+1), as llama; "half-split": pairs (i, i + numDims/2). */
  pairing: "interleaved" | "half-split";
  /** Linear position scaling: positions are divided by it; 1 = none. */
  linearScale: number;
  /** Optional divisors of the frequencies, numDims/2 of them (`rope_freqs.weight`, Llama 3.x). */
  freqFactors: GgufTensorInfo | null;
}

/** Every matrix is [out, in]: GGUF stores it with ne = (in, out), rows of `in` elements one after another. */
export interface ModelTensors {
  tokenEmbedding: GgufTensorInfo;
  outputNorm: GgufTensorInfo;
  /** null when tied. */
  output: GgufTensorInfo | null;
  layers: LayerTensors[];
}

export interface LayerTensors {
  attnNorm: GgufTensorInfo;
  attnQ: GgufTensorInfo;
  attnK: GgufTensorInfo;
  attnV: GgufTensorInfo;
  attnOutput: GgufTensorInfo;
  ffnNorm: GgufTensorInfo;
  ffnGate: GgufTensorInfo;
  ffnUp: GgufTensorInfo;
  ffnDown: GgufTensorInfo;
}
