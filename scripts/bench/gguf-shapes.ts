/**
 * Shapes of models that people run, and which type each matrix gets in a quantization. `pure` mixes give every matrix
 * one type (`llama-quantize --pure`); `q4_k_m` follows llama.cpp's rules (src/llama-quant.cpp), fall-backs included: a
 * row that is no multiple of 256 cannot hold a K-quant, so most of a 576-wide "Q4_K_M" is Q5_0.
 */
import { GGML_BLOCK, type GgmlTypeName } from "../../src/model/gguf.ts";

export interface ModelShape {
  numLayers: number;
  dModel: number;
  numHeads: number;
  numKvHeads: number;
  ffnDim: number;
  vocabSize: number;
  ropeBase: number;
  contextLength: number;
}

export const SHAPES = {
  "smollm2-135m": {
    numLayers: 30,
    dModel: 576,
    numHeads: 9,
    numKvHeads: 3,
    ffnDim: 1536,
    vocabSize: 49152,
    ropeBase: 100_000,
    contextLength: 2048,
  },
  /** Llama 3.2 1B and Llama 3.1 8B; the latter with a tied head, which changes no byte that a decode reads. */
  "llama-1b": {
    numLayers: 16,
    dModel: 2048,
    numHeads: 32,
    numKvHeads: 8,
    ffnDim: 8192,
    vocabSize: 128_256,
    ropeBase: 500_000,
    contextLength: 131_072,
  },
  "llama-8b": {
    numLayers: 32,
    dModel: 4096,
    numHeads: 32,
    numKvHeads: 8,
    ffnDim: 14_336,
    vocabSize: 128_256,
    ropeBase: 500_000,
    contextLength: 131_072,
  },
  /** For tests: every rule above applies, nothing takes time. */
  tiny: {
    numLayers: 4,
    dModel: 64,
    numHeads: 4,
    numKvHeads: 2,
    ffnDim: 256,
    vocabSize: 512,
    ropeBase: 10_000,
    contextLength: 128,
  },
} as const satisfies Record<string, ModelShape>;

export type ShapeName = keyof typeof SHAPES;

export type MatrixRole =
  | "token_embd"
  | "attn_q"
  | "attn_k"
  | "attn_v"
  | "attn_output"
  | "ffn_gate"
  | "ffn_up"
  | "ffn_down";

/** The type of a matrix before fall-backs. */
type Mix = (role: MatrixRole, layer: number, numLayers: number) => GgmlTypeName;

export const MIXES = {
  f16: () => "F16",
  q4_0: () => "Q4_0",
  q8_0: () => "Q8_0",
  q4_k_m: (role, layer, numLayers) => {
    if (role === "token_embd") return "Q6_K";
    const isCareful = role === "attn_v" || role === "ffn_down";
    return isCareful && usesMoreBits(layer, numLayers) ? "Q6_K" : "Q4_K";
  },
} as const satisfies Record<string, Mix>;

export type MixName = keyof typeof MIXES;

const FALLBACK: Partial<Record<GgmlTypeName, GgmlTypeName>> = { Q4_K: "Q5_0", Q5_K: "Q5_1", Q6_K: "Q8_0" };

/** First eighth, last eighth, and every third layer between. */
function usesMoreBits(layer: number, numLayers: number): boolean {
  const eighth = Math.floor(numLayers / 8);
  return layer < eighth || layer >= Math.floor((7 * numLayers) / 8) || (layer - eighth) % 3 === 2;
}

/** @param cols of the matrix: elements of a row */
export function matrixType(mix: MixName, role: MatrixRole, layer: number, numLayers: number, cols: number) {
  const type = (MIXES[mix] as Mix)(role, layer, numLayers);
  return cols % GGML_BLOCK[type].elements === 0 ? type : (FALLBACK[type] ?? "F16");
}
