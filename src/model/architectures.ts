/**
 * Architectures as data: which roles have which tensors of which shape, what is computed with them, and which keys would
 * change that. Adding an architecture of the same family means adding a row here. `spec-from-gguf.ts` reads the table;
 * anything in a file that the table does not explain is refused by name, because an ignored bias or scale gives wrong
 * text, not an error.
 *
 * Source: what llama.cpp computes for each architecture (src/models/*.cpp), and the tensor names of its converters.
 */
import type { LayerRole, ModelSpec, RopeSpec } from "./model-spec.ts";

/** Widths that tensor shapes are written in. */
export interface Widths {
  dModel: number;
  qDim: number;
  kvDim: number;
  headDim: number;
  ffnDim: number;
  vocabSize: number;
  contextLength: number;
}

export type WidthName = keyof Widths;

/** A vector [out] in F32, or a matrix [out, in] in any readable type. */
export type Shape = { vector: WidthName } | { out: WidthName; in: WidthName };

export interface TensorRule {
  /** Name in the file; in a layer, what follows `blk.N.`. */
  name: string;
  shape: Shape;
}

/** Several roles in one tensor, rows after rows in this order. Where a file has it, the roles' own tensors are absent. */
export interface FusedRule {
  name: string;
  roles: readonly LayerRole[];
}

/** A key (without the architecture's prefix) that may only have a value which changes nothing. */
export interface NeutralKey {
  key: string;
  neutral: (string | number | boolean)[];
  /** What the model would need. */
  feature: string;
}

export interface RopeTable {
  pairing: RopeSpec["pairing"];
  /** Where the file has no `rope.freq_base`. */
  baseDefault: number;
  /** Fewer components of a head than all may be rotated. */
  mayBePartial: boolean;
  /** May have tensors of factors for short and long contexts, and `rope.scaling.attn_factor` (LongRoPE). */
  mayHaveLongFactors: boolean;
}

/** What `attention.sliding_window` means. */
export type WindowRule =
  /** Every layer has it. */
  | { layers: "all" }
  /** Of every `period` layers all but the last have it, and rotate by a base of their own. */
  | { layers: "periodic"; period: number; ropeBase: number }
  /** The key is there, and the reference computes without it. */
  | { layers: "none" };

export interface ArchitectureTable {
  norm: ModelSpec["norm"];
  activation: ModelSpec["activation"];
  /** null: positions are learned, `positionEmbedding` has them. */
  rope: RopeTable | null;
  window: WindowRule;
  /** Embeddings are multiplied by the root of their width. */
  scalesEmbedding: boolean;
  tokenEmbedding: TensorRule;
  positionEmbedding: TensorRule | null;
  outputNorm: TensorRule;
  outputNormBias: TensorRule | null;
  /** Absent in a file = tied to the token embedding. */
  output: TensorRule;
  layer: Partial<Record<LayerRole, TensorRule>>;
  fused: FusedRule[];
  neutralKeys: NeutralKey[];
}

const vector = (name: string, width: WidthName): TensorRule => ({ name, shape: { vector: width } });
const matrix = (name: string, out: WidthName, inner: WidthName): TensorRule => ({ name, shape: { out, in: inner } });

const GLOBALS = {
  tokenEmbedding: matrix("token_embd.weight", "vocabSize", "dModel"),
  positionEmbedding: null,
  outputNorm: vector("output_norm.weight", "dModel"),
  outputNormBias: null,
  output: matrix("output.weight", "vocabSize", "dModel"),
};

const GATED_LAYER = {
  attnNorm: vector("attn_norm.weight", "dModel"),
  attnQ: matrix("attn_q.weight", "qDim", "dModel"),
  attnK: matrix("attn_k.weight", "kvDim", "dModel"),
  attnV: matrix("attn_v.weight", "kvDim", "dModel"),
  attnOutput: matrix("attn_output.weight", "dModel", "qDim"),
  ffnNorm: vector("ffn_norm.weight", "dModel"),
  ffnGate: matrix("ffn_gate.weight", "ffnDim", "dModel"),
  ffnUp: matrix("ffn_up.weight", "ffnDim", "dModel"),
  ffnDown: matrix("ffn_down.weight", "dModel", "ffnDim"),
};

const QKV_BIASES = {
  attnQBias: vector("attn_q.bias", "qDim"),
  attnKBias: vector("attn_k.bias", "kvDim"),
  attnVBias: vector("attn_v.bias", "kvDim"),
};

const HEAD_NORMS = {
  attnQNorm: vector("attn_q_norm.weight", "headDim"),
  attnKNorm: vector("attn_k_norm.weight", "headDim"),
};

const FUSED_QKV: FusedRule = { name: "attn_qkv.weight", roles: ["attnQ", "attnK", "attnV"] };
const FUSED_QKV_BIAS: FusedRule = { name: "attn_qkv.bias", roles: ["attnQBias", "attnKBias", "attnVBias"] };

/** Keys of llama's relatives that would change the result; converters write some of them with neutral values. */
const NEUTRAL_KEYS: NeutralKey[] = [
  { key: "expert_count", neutral: [0], feature: "a mixture of experts" },
  { key: "expert_used_count", neutral: [0], feature: "a mixture of experts" },
  { key: "attention.causal", neutral: [true], feature: "non-causal attention" },
  { key: "attention.scale", neutral: [0], feature: "its own attention scale" },
  { key: "attention.clamp_kqv", neutral: [0], feature: "clamped queries, keys and values" },
  { key: "attention.max_alibi_bias", neutral: [0], feature: "ALiBi positions" },
  { key: "attention.temperature_scale", neutral: [0], feature: "scaled attention temperature" },
  { key: "attn_logit_softcapping", neutral: [0], feature: "soft-capped attention" },
  { key: "final_logit_softcapping", neutral: [0], feature: "soft-capped logits" },
  { key: "embedding_scale", neutral: [0, 1], feature: "scaled embeddings" },
  { key: "residual_scale", neutral: [0, 1], feature: "scaled residuals" },
  { key: "logit_scale", neutral: [0, 1], feature: "scaled logits" },
  { key: "use_parallel_residual", neutral: [false], feature: "parallel residuals" },
  { key: "pooling_type", neutral: [0, 1, 3], feature: "pooling of another kind than mean and last" },
];
const ATTN_FACTOR: NeutralKey = {
  key: "rope.scaling.attn_factor",
  neutral: [1],
  feature: "rope attention scaling",
};
/** Of architectures whose windows no reference computes. */
const WINDOW: NeutralKey = { key: "attention.sliding_window", neutral: [0], feature: "a sliding window" };

const HALF_SPLIT: RopeTable = {
  pairing: "half-split",
  baseDefault: 10_000,
  mayBePartial: true,
  mayHaveLongFactors: false,
};

const LLAMA: ArchitectureTable = {
  norm: "rms",
  activation: "silu",
  // Converters permute the rows of q and k so that the pairs lie side by side.
  rope: { pairing: "interleaved", baseDefault: 10_000, mayBePartial: false, mayHaveLongFactors: false },
  window: { layers: "all" },
  scalesEmbedding: false,
  ...GLOBALS,
  layer: GATED_LAYER,
  fused: [FUSED_QKV],
  neutralKeys: [...NEUTRAL_KEYS, ATTN_FACTOR],
};

export const ARCHITECTURES: Record<string, ArchitectureTable> = {
  llama: LLAMA,
  mistral: LLAMA,
  qwen2: {
    ...LLAMA,
    rope: HALF_SPLIT,
    window: { layers: "none" },
    layer: { ...GATED_LAYER, ...QKV_BIASES },
    fused: [FUSED_QKV, FUSED_QKV_BIAS],
    neutralKeys: [...LLAMA.neutralKeys, WINDOW],
  },
  qwen3: {
    ...LLAMA,
    rope: HALF_SPLIT,
    window: { layers: "none" },
    layer: { ...GATED_LAYER, ...HEAD_NORMS },
    neutralKeys: [...LLAMA.neutralKeys, WINDOW],
  },
  gemma3: {
    ...LLAMA,
    activation: "gelu-tanh",
    rope: { ...HALF_SPLIT, baseDefault: 1_000_000 },
    window: { layers: "periodic", period: 6, ropeBase: 10_000 },
    scalesEmbedding: true,
    layer: {
      ...GATED_LAYER,
      ...HEAD_NORMS,
      attnPostNorm: vector("post_attention_norm.weight", "dModel"),
      ffnPostNorm: vector("post_ffw_norm.weight", "dModel"),
    },
  },
  phi3: {
    ...LLAMA,
    rope: { ...HALF_SPLIT, mayHaveLongFactors: true },
    // Converters write the window without its pattern of layers, so llama.cpp leaves it out.
    window: { layers: "none" },
    fused: [FUSED_QKV, { name: "ffn_up.weight", roles: ["ffnGate", "ffnUp"] }],
    neutralKeys: NEUTRAL_KEYS,
  },
  gpt2: {
    ...LLAMA,
    norm: "layer",
    activation: "gelu-tanh",
    rope: null,
    window: { layers: "none" },
    positionEmbedding: matrix("position_embd.weight", "contextLength", "dModel"),
    outputNormBias: vector("output_norm.bias", "dModel"),
    layer: {
      attnNorm: GATED_LAYER.attnNorm,
      attnNormBias: vector("attn_norm.bias", "dModel"),
      attnQ: GATED_LAYER.attnQ,
      attnK: GATED_LAYER.attnK,
      attnV: GATED_LAYER.attnV,
      ...QKV_BIASES,
      attnOutput: GATED_LAYER.attnOutput,
      attnOutputBias: vector("attn_output.bias", "dModel"),
      ffnNorm: GATED_LAYER.ffnNorm,
      ffnNormBias: vector("ffn_norm.bias", "dModel"),
      ffnUp: GATED_LAYER.ffnUp,
      ffnUpBias: vector("ffn_up.bias", "ffnDim"),
      ffnDown: GATED_LAYER.ffnDown,
      ffnDownBias: vector("ffn_down.bias", "dModel"),
    },
    fused: [FUSED_QKV, FUSED_QKV_BIAS],
    neutralKeys: [...LLAMA.neutralKeys, WINDOW],
  },
};
