/**
 * ModelSpec and memory plan → the descriptor words that `wasm/src/config.rs` and `layers.rs` read. Which operation a
 * model needs is data here, so that a new architecture of the family is a few words, not another forward pass.
 */
import { GGML_BLOCK, type GgufTensorInfo } from "../../model/gguf.ts";
import { LAYER_ROLES, type ModelSpec, type RoleTensor, type RopeSpec } from "../../model/model-spec.ts";
import { ABI_VERSION, formatId, packedBytes } from "./exports.ts";
import { type CpuMemoryPlan, KV_PRECISIONS } from "./memory-plan.ts";

const CONFIG_WORDS = 30;
const TENSOR_WORDS = 4;
const GLOBAL_TENSORS = 5;
/** Window and rope table. */
const LAYER_HEADER_WORDS = 2;

export function descriptorBytes(numLayers: number): number {
  const layerWords = LAYER_HEADER_WORDS + LAYER_ROLES.length * TENSOR_WORDS;
  return (CONFIG_WORDS + GLOBAL_TENSORS * TENSOR_WORDS + numLayers * layerWords) * 4;
}

/** Tensors of the file that lie in linear memory, each once, however many roles share it. */
export function storedTensors({ tensors }: ModelSpec): GgufTensorInfo[] {
  const { layers, ...globals } = tensors;
  const roles = [...Object.values(globals), ...layers.flatMap((layer) => LAYER_ROLES.map((role) => layer[role]))];
  return [...new Set(roles.filter((role) => role !== null).map((role) => role.stored))];
}

/** The different rotations of a model's layers, none where positions are learned. */
export function ropeTables({ rope, slidingWindow }: ModelSpec): RopeSpec[] {
  return [...new Set([rope, slidingWindow?.rope ?? null])].filter((table) => table !== null);
}

/** What divides the frequencies at this context, or null. */
export function ropeFactors(rope: RopeSpec, contextLength: number): GgufTensorInfo | null {
  const { longFactors, freqFactors } = rope;
  return longFactors !== null && contextLength > longFactors.beyondTokens ? longFactors.tensor : freqFactors;
}

export function writeDescriptor(memory: ArrayBuffer, spec: ModelSpec, plan: CpuMemoryPlan): void {
  const { addresses } = plan;
  const view = new DataView(memory, addresses.model, descriptorBytes(spec.numLayers));
  const tables = ropeTables(spec);
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
    spec.rope?.numDims ?? 0,
    spec.rope?.pairing === "half-split" ? 1 : 0,
    floatBits(spec.attentionScale),
    { silu: 0, "gelu-tanh": 1 }[spec.activation],
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
    tables.length,
    floatBits(spec.rope?.magnitude ?? 1),
    floatBits(spec.embeddingScale),
  ];
  const { tokenEmbedding, positionEmbedding, outputNorm, outputNormBias, output, layers } = spec.tensors;
  for (const role of [tokenEmbedding, positionEmbedding, outputNorm, outputNormBias, output ?? tokenEmbedding]) {
    words.push(...tensorWords(role, plan));
  }
  layers.forEach((layer, i) => {
    const local = spec.slidingWindow?.isLocal[i] ? spec.slidingWindow : null;
    const rope = local === null ? spec.rope : local.rope;
    words.push(local?.numTokens ?? 0, rope === null ? 0 : tables.indexOf(rope));
    for (const role of LAYER_ROLES) words.push(...tensorWords(layer[role], plan));
  });
  words.forEach((word, i) => {
    view.setUint32(i * 4, word, true);
  });
}

const floatBits = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0]!;

/** Format, rows, columns, address. Rows of a larger matrix lie in it one after another, in groups that stay whole. */
function tensorWords(role: RoleTensor | null, { addresses }: CpuMemoryPlan): number[] {
  if (role === null) return [0, 0, 0, 0];
  const { type, dims, firstRow, stored } = role;
  const address = addresses.tensors.get(stored.name)!;
  const format = formatId(type);
  if (dims.length === 1) return [format, 1, dims[0]!, address + firstRow * GGML_BLOCK[type].bytes];
  const [cols = 0, rows = 0] = dims;
  return [format, rows, cols, address + packedBytes(type, firstRow, cols, GGML_BLOCK[type].elements)];
}

/** Angles per position, numDims/2 of them; `factors` divide them. */
export function ropeFrequencies(rope: RopeSpec, factors: Float32Array | null): Float64Array {
  return Float64Array.from({ length: rope.numDims / 2 }, (_, i) => {
    const frequency = rope.base ** ((-2 * i) / rope.numDims);
    return frequency / (factors === null ? 1 : factors[i]!) / rope.linearScale;
  });
}
