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
  /** RMSNorm, or LayerNorm with biases. Norms of heads and norms after a block are RMSNorm always. */
  norm: "rms" | "layer";
  normEpsilon: number;
  /** Multiplies the token embedding. */
  embeddingScale: number;
  /** Multiplies q·k. */
  attentionScale: number;
  /** Of layers that see all keys; null where positions are learned (`tensors.positionEmbedding`). */
  rope: RopeSpec | null;
  /** null: every layer sees all keys. */
  slidingWindow: SlidingWindow | null;
  /** activation(gate) · up, or activation(up) in layers without a gate. */
  activation: "silu" | "gelu-tanh";
  /** How rows become the vector of a text. A decoder's last token has seen all others, so it is the default. */
  pooling: "mean" | "last";
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
  /** Multiplies cosine and sine; 1 but for LongRoPE. */
  magnitude: number;
  /** Optional divisors of the frequencies, numDims/2 of them (`rope_freqs`, Llama 3.x; `rope_factors_short`, Phi-3). */
  freqFactors: GgufTensorInfo | null;
  /** Take the place of `freqFactors` where the context is longer than `beyondTokens`. */
  longFactors: { tensor: GgufTensorInfo; beyondTokens: number } | null;
}

/** Local attention: a key is visible while it is less than `numTokens` positions back. */
export interface SlidingWindow {
  numTokens: number;
  /** For each layer; the others see all keys. */
  isLocal: boolean[];
  /** Of local layers. The same object as the model's where they rotate alike. */
  rope: RopeSpec | null;
}

/** Every matrix is [out, in]: GGUF stores it with ne = (in, out), rows of `in` elements one after another. */
export interface ModelTensors {
  tokenEmbedding: RoleTensor;
  /** [positions, dModel], added to the token embedding. */
  positionEmbedding: RoleTensor | null;
  outputNorm: RoleTensor;
  outputNormBias: RoleTensor | null;
  /** null when tied. */
  output: RoleTensor | null;
  layers: LayerTensors[];
}

/**
 * The weights of one role. Where a file keeps several roles in one tensor (`attn_qkv`), this is the part of its rows
 * that belongs to the role, and what it says of dims, offset and size is of that part.
 */
export interface RoleTensor extends GgufTensorInfo {
  /** The tensor in the file. */
  stored: GgufTensorInfo;
  /** First row in it; of a vector, first element. */
  firstRow: number;
}

export interface LayerTensors {
  attnNorm: RoleTensor;
  attnNormBias: RoleTensor | null;
  attnQ: RoleTensor;
  attnK: RoleTensor;
  attnV: RoleTensor;
  attnQBias: RoleTensor | null;
  attnKBias: RoleTensor | null;
  attnVBias: RoleTensor | null;
  /** Norms of each head, before rope. */
  attnQNorm: RoleTensor | null;
  attnKNorm: RoleTensor | null;
  attnOutput: RoleTensor;
  attnOutputBias: RoleTensor | null;
  /** Norm of the attention's result, before it is added to the residual stream. */
  attnPostNorm: RoleTensor | null;
  ffnNorm: RoleTensor;
  ffnNormBias: RoleTensor | null;
  ffnGate: RoleTensor | null;
  ffnUp: RoleTensor;
  ffnUpBias: RoleTensor | null;
  ffnDown: RoleTensor;
  ffnDownBias: RoleTensor | null;
  ffnPostNorm: RoleTensor | null;
}

export type LayerRole = keyof LayerTensors;

/** In the order of the computation, which is also that of the engine's descriptor. */
export const LAYER_ROLES = [
  "attnNorm",
  "attnNormBias",
  "attnQ",
  "attnK",
  "attnV",
  "attnQBias",
  "attnKBias",
  "attnVBias",
  "attnQNorm",
  "attnKNorm",
  "attnOutput",
  "attnOutputBias",
  "attnPostNorm",
  "ffnNorm",
  "ffnNormBias",
  "ffnGate",
  "ffnUp",
  "ffnUpBias",
  "ffnDown",
  "ffnDownBias",
  "ffnPostNorm",
] as const satisfies readonly LayerRole[];
