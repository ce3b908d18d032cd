/**
 * Architectures as data: which roles have which tensors of which shape, and which keys change the computation. Adding
 * an architecture of the same family means adding a row here. `spec-from-gguf.ts` reads the table; anything in a file
 * that the table does not explain is refused by name, because an ignored bias or scale gives wrong text, not an error.
 */
import type { LayerTensors, RopeSpec } from "./model-spec.ts";

/** Widths that tensor shapes are written in. */
export interface Widths {
  dModel: number;
  qDim: number;
  kvDim: number;
  ffnDim: number;
  vocabSize: number;
}

export type WidthName = keyof Widths;

/** A vector [out] in F32, or a matrix [out, in] in any readable type. */
export type Shape = { vector: WidthName } | { out: WidthName; in: WidthName };

export interface TensorRule {
  /** Name in the file; in a layer, what follows `blk.N.`. */
  name: string;
  shape: Shape;
}

/** A key (without the architecture's prefix) that may only have a value which changes nothing. */
export interface NeutralKey {
  key: string;
  neutral: (string | number | boolean)[];
  /** What the model would need. */
  feature: string;
}

export interface ArchitectureTable {
  ropePairing: RopeSpec["pairing"];
  /** Used where the file has no `rope.freq_base`. */
  ropeBaseDefault: number;
  tokenEmbedding: TensorRule;
  outputNorm: TensorRule;
  /** Absent in a file = tied to the token embedding. */
  output: TensorRule;
  layer: Record<keyof LayerTensors, TensorRule>;
  neutralKeys: NeutralKey[];
}

const GATED_FFN_LAYER: Record<keyof LayerTensors, TensorRule> = {
  attnNorm: { name: "attn_norm.weight", shape: { vector: "dModel" } },
  attnQ: { name: "attn_q.weight", shape: { out: "qDim", in: "dModel" } },
  attnK: { name: "attn_k.weight", shape: { out: "kvDim", in: "dModel" } },
  attnV: { name: "attn_v.weight", shape: { out: "kvDim", in: "dModel" } },
  attnOutput: { name: "attn_output.weight", shape: { out: "dModel", in: "qDim" } },
  ffnNorm: { name: "ffn_norm.weight", shape: { vector: "dModel" } },
  ffnGate: { name: "ffn_gate.weight", shape: { out: "ffnDim", in: "dModel" } },
  ffnUp: { name: "ffn_up.weight", shape: { out: "ffnDim", in: "dModel" } },
  ffnDown: { name: "ffn_down.weight", shape: { out: "dModel", in: "ffnDim" } },
};

/** Keys of llama's relatives that would change the result; converters write some of them with neutral values. */
const NEUTRAL_KEYS: NeutralKey[] = [
  { key: "expert_count", neutral: [0], feature: "a mixture of experts" },
  { key: "expert_used_count", neutral: [0], feature: "a mixture of experts" },
  { key: "attention.causal", neutral: [true], feature: "non-causal attention" },
  { key: "attention.scale", neutral: [0], feature: "its own attention scale" },
  { key: "attention.clamp_kqv", neutral: [0], feature: "clamped queries, keys and values" },
  { key: "attention.max_alibi_bias", neutral: [0], feature: "ALiBi positions" },
  { key: "attn_logit_softcapping", neutral: [0], feature: "soft-capped attention" },
  { key: "final_logit_softcapping", neutral: [0], feature: "soft-capped logits" },
  { key: "embedding_scale", neutral: [0, 1], feature: "scaled embeddings" },
  { key: "residual_scale", neutral: [0, 1], feature: "scaled residuals" },
  { key: "logit_scale", neutral: [0, 1], feature: "scaled logits" },
  { key: "use_parallel_residual", neutral: [false], feature: "parallel residuals" },
  { key: "rope.scaling.attn_factor", neutral: [1], feature: "rope attention scaling" },
  { key: "pooling_type", neutral: [0], feature: "pooling (an embedding model)" },
];

export const ARCHITECTURES: Record<string, ArchitectureTable> = {
  llama: {
    // Converters permute the rows of q and k so that the pairs lie side by side.
    ropePairing: "interleaved",
    ropeBaseDefault: 10_000,
    tokenEmbedding: { name: "token_embd.weight", shape: { out: "vocabSize", in: "dModel" } },
    outputNorm: { name: "output_norm.weight", shape: { vector: "dModel" } },
    output: { name: "output.weight", shape: { out: "vocabSize", in: "dModel" } },
    layer: GATED_FFN_LAYER,
    neutralKeys: NEUTRAL_KEYS,
  },
};
