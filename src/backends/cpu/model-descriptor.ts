/**
 * ModelSpec and memory plan → the descriptor words that `wasm/src/config.rs` reads. Which operation a model needs is
 * data here, so that a new architecture of the family is a few words, not another forward pass.
 */
import type { GgufTensorInfo } from "../../model/gguf.ts";
import type { ModelSpec } from "../../model/model-spec.ts";
import { ABI_VERSION, formatId } from "./exports.ts";
import { type CpuMemoryPlan, KV_PRECISIONS } from "./memory-plan.ts";

const CONFIG_WORDS = 27;
const TENSOR_WORDS = 4;
const GLOBAL_TENSORS = 3;
const LAYER_TENSORS = 9;

export function descriptorBytes(numLayers: number): number {
  return (CONFIG_WORDS + (GLOBAL_TENSORS + numLayers * LAYER_TENSORS) * TENSOR_WORDS) * 4;
}

/** Tensors in descriptor order; a tied head names the embedding twice. */
export function specTensors({ tensors }: ModelSpec): GgufTensorInfo[] {
  return [
    tensors.tokenEmbedding,
    tensors.outputNorm,
    tensors.output ?? tensors.tokenEmbedding,
    ...tensors.layers.flatMap((layer) => [
      layer.attnNorm,
      layer.attnQ,
      layer.attnK,
      layer.attnV,
      layer.attnOutput,
      layer.ffnNorm,
      layer.ffnGate,
      layer.ffnUp,
      layer.ffnDown,
    ]),
  ];
}

export function writeDescriptor(memory: ArrayBuffer, spec: ModelSpec, plan: CpuMemoryPlan): void {
  const { addresses } = plan;
  const view = new DataView(memory, addresses.model, descriptorBytes(spec.numLayers));
  const floatBits = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0]!;
  const words = [
    ABI_VERSION,
    spec.numLayers,
    spec.dModel,
    spec.numHeads,
    spec.numKvHeads,
    spec.headDim,
    spec.ffnDim,
    spec.vocabSize,
    plan.contextLength,
    floatBits(spec.normEpsilon),
    spec.rope.numDims,
    spec.rope.pairing === "half-split" ? 1 : 0,
    floatBits(1 / Math.sqrt(spec.headDim)),
    { silu: 0 }[spec.activation],
    plan.blockTokens,
    plan.numBlocks,
    KV_PRECISIONS.indexOf(plan.kvPrecision),
    plan.maxBatchTokens,
    plan.maxBatchSequences,
    plan.maxLogitRows,
    addresses.ropeFrequencies,
    addresses.kv,
    addresses.scratch,
    plan.scratchRegionBytes,
    addresses.step,
    plan.stepWords,
    addresses.results,
  ];
  for (const tensor of specTensors(spec)) {
    const [cols = 0, rows = 1] = tensor.dims;
    words.push(formatId(tensor.type), rows, cols, addresses.tensors.get(tensor.name)!);
  }
  words.forEach((word, i) => {
    view.setUint32(i * 4, word, true);
  });
}

/** Angles per position, numDims/2 of them; `factors` divide them (Llama 3's rope_freqs). */
export function ropeFrequencies({ rope }: ModelSpec, factors: Float32Array | null): Float64Array {
  return Float64Array.from({ length: rope.numDims / 2 }, (_, i) => {
    const frequency = rope.base ** ((-2 * i) / rope.numDims);
    return frequency / (factors === null ? 1 : factors[i]!) / rope.linearScale;
  });
}
