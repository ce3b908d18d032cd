/** What the contract of all backends is told of each, and what its cases share: models, steps, wanted outputs. */
import { expect } from "vitest";
import type { SamplingParams } from "../../src/protocol/generate.ts";
import type { Backend, RowOutput, StepSequence } from "../../src/serving/backend.ts";
import { u32 } from "../support/gguf-writer.ts";
import { GREEDY } from "../support/sampling.ts";
import { K_QUANT_SHAPE, type TinyModel, type TinyModelOptions } from "../support/tiny-model.ts";

export interface ContractOptions {
  blockTokens: number;
  numBlocks: number;
  maxBatchTokens: number;
  maxBatchSequences: number;
  kvPrecision: "f32" | "f16" | "q8" | "i16";
}

export interface ContractSubject {
  name: string;
  make(model: TinyModel, options: ContractOptions): Promise<Backend>;
  /** Makes the engine crash for real; must throw what `step` throws then. */
  crash(backend: Backend): unknown;
  kvPrecision: ContractOptions["kvPrecision"];
  /** Run on these models alone. Default: all. */
  models?: readonly ContractModel[];
  tolerances: {
    /** Largest difference of a logit from float64, F32 weights. */
    logits: number;
    /** Σ(a−b)² / Σb² of the logits, quantised weights: int8 activations alone make about 1e-3 (llama.cpp's do too). */
    nmse: number;
    /** Largest difference of a log probability. */
    logprob: number;
  };
}

export const OPTIONS: Omit<ContractOptions, "kvPrecision"> = {
  blockTokens: 4,
  numBlocks: 48,
  maxBatchTokens: 48,
  maxBatchSequences: 6,
};

export const MODELS = {
  "F32, grouped queries, untied": { seed: 11, tied: false, ropeFreqs: true },
  "qwen2: biases": { seed: 21, architecture: "qwen2", numKvHeads: 1 },
  "qwen3: norms of heads, which are wider than the model": { seed: 22, architecture: "qwen3", headDim: 32 },
  "gemma3: local layers, norms after, GELU": { seed: 23, architecture: "gemma3", numLayers: 7, slidingWindow: 6 },
  "phi3: fused tensors, a partial rotation": {
    seed: 24,
    architecture: "phi3",
    tied: false,
    weightType: (tensor) => (tensor.includes("attn_qkv") ? "Q4_0" : "Q8_0"),
    metadata: { "phi3.rope.dimension_count": u32(12) },
  },
  "gpt2: LayerNorm, learned positions, an FFN without a gate": { seed: 25, architecture: "gpt2", numKvHeads: 4 },
  "mistral: a window in every layer, 3 queries a key, F16": {
    seed: 26,
    architecture: "mistral",
    numHeads: 6,
    headDim: 12,
    slidingWindow: 5,
    weightType: "F16",
  },
  "4 to 8 bits mixed": {
    seed: 12,
    weightType: (tensor) =>
      tensor.includes("token_embd")
        ? "Q8_0"
        : tensor.includes("attn_v")
          ? "Q5_1"
          : tensor.includes("attn_k")
            ? "Q4_1"
            : tensor.includes("ffn_down")
              ? "Q5_0"
              : "Q4_0",
  },
  "K-quants and halves": {
    seed: 13,
    ...K_QUANT_SHAPE,
    numLayers: 1,
    weightType: (tensor) =>
      tensor.includes("token_embd")
        ? "Q6_K"
        : tensor.includes("attn_v")
          ? "F16"
          : tensor.includes("attn_k")
            ? "BF16"
            : tensor.includes("ffn_down")
              ? "Q5_K"
              : "Q4_K",
  },
  "2 and 3 bits, codebooks": {
    seed: 14,
    ...K_QUANT_SHAPE,
    numLayers: 1,
    weightType: (tensor) =>
      tensor.includes("token_embd")
        ? "IQ4_XS"
        : tensor.includes("attn_v")
          ? "Q3_K"
          : tensor.includes("attn_k")
            ? "IQ4_NL"
            : tensor.includes("ffn_down")
              ? "Q3_K"
              : "Q2_K",
  },
} satisfies Record<string, TinyModelOptions>;

export type ContractModel = keyof typeof MODELS;

export const rawLogits = (row: number): RowOutput => ({
  row,
  sample: null,
  scoreToken: null,
  numLogprobs: null,
  wantLogits: true,
});

export function draw(
  row: number,
  params: Partial<SamplingParams>,
  rngKey: [number, number],
  rngCounter = 0,
): RowOutput {
  const sample = {
    params: { ...GREEDY, ...params },
    rngKey,
    rngCounter,
    promptTokens: [],
    outputTokens: [],
    allowed: null,
  };
  return { row, sample, scoreToken: null, numLogprobs: null, wantLogits: false };
}

/** One sequence with its logits wanted at every row. */
export function sequence(tokens: number[], startPosition: number, blockTable: number[]): StepSequence {
  return { tokens, startPosition, blockTable, outputs: tokens.map((_, row) => rawLogits(row)) };
}

export async function stepLogits(backend: Backend, sequences: StepSequence[]): Promise<Float32Array[]> {
  const { rows } = await backend.step({ copies: [], sequences });
  const logits = rows.map((row) => row.logits!);
  // NaN equals NaN to `toEqual`: without this, an engine of nothing but NaN would pass every comparison.
  for (const row of logits) expect(row.every(Number.isFinite)).toBe(true);
  return logits;
}

/** `count` blocks from `first` on. */
export const blocks = (first: number, count = 12) => Array.from({ length: count }, (_, i) => first + i);

/** What a case runs on; set before the first. */
export interface ContractHost {
  readonly subject: ContractSubject;
  readonly options: ContractOptions;
  readonly modelOptions: TinyModelOptions;
  model: TinyModel;
  backend: Backend;
  tokens: number[];
}
