/** Random LoRA adapters for tiny models, as GGUF files, and the models with the adapter merged into their weights. */
import type { GgmlTypeName } from "../../src/model/gguf.ts";
import { LORA_ROLES, type LoraPair, loraFromGguf } from "../../src/model/lora-from-gguf.ts";
import { f32, string, type WriterTensor, type WriterValue, writeGguf } from "./gguf-writer.ts";
import { quantize } from "./quantize.ts";
import { normalSource } from "./random.ts";
import { readTensors, type TinyModel, type Weights } from "./tiny-model.ts";

export interface TinyLoraOptions {
  seed?: number;
  rank?: number;
  alpha?: number;
  type?: Extract<GgmlTypeName, "F32" | "F16" | "BF16">;
  /** Which of the base's tensors are adapted. Default: all that may be. */
  adapts?: (tensorName: string) => boolean;
  /** Added to the metadata, or replacing keys of it; null removes one. */
  metadata?: Record<string, WriterValue | null>;
  /** Changes the tensors that are written. */
  tensors?: (tensors: WriterTensor[]) => WriterTensor[];
}

/** Of A and B. With alpha = 2 · rank an adapter then adds about half of what its matrix gives: enough for other words. */
const GAIN = 0.6;

export function tinyLoraBytes(
  { spec }: Pick<TinyModel, "spec">,
  options: TinyLoraOptions = {},
): Uint8Array<ArrayBuffer> {
  const { seed = 1, rank = 8, alpha = 16, type = "F32", adapts = () => true } = options;
  const normal = normalSource(seed);
  const matrix = (name: string, rows: number, inner: number): WriterTensor => {
    const deviation = GAIN / Math.sqrt(inner);
    const values = Float32Array.from({ length: rows * inner }, () => normal() * deviation);
    return { name, type, dims: [inner, rows], data: quantize(type, values) };
  };
  const stored = spec.tensors.layers.flatMap((layer) => LORA_ROLES.flatMap((role) => layer[role]?.stored ?? []));
  const bases = [...new Map(stored.map((tensor) => [tensor.name, tensor])).values()];
  const tensors = bases
    .filter(({ name }) => adapts(name))
    .flatMap(({ name, dims }) => [matrix(`${name}.lora_a`, rank, dims[0]!), matrix(`${name}.lora_b`, dims[1]!, rank)]);
  const metadata = new Map<string, WriterValue>([
    ["general.type", string("adapter")],
    ["general.architecture", string(spec.architecture)],
    ["adapter.type", string("lora")],
    ["adapter.lora.alpha", f32(alpha)],
  ]);
  for (const [key, value] of Object.entries(options.metadata ?? {})) {
    if (value === null) metadata.delete(key);
    else metadata.set(key, value);
  }
  return writeGguf({ metadata, tensors: options.tensors?.(tensors) ?? tensors });
}

/** W + alpha / rank · B · A of every adapted matrix. */
export async function mergedWeights({ spec, weights }: TinyModel, lora: Uint8Array): Promise<Weights> {
  const { header, weights: factors } = await readTensors(lora, "lora");
  const merged: Weights = new Map(weights);
  for (const [name, pair] of loraFromGguf(header, "lora", spec)) {
    merged.set(name, merge(weights.get(name)!, factors.get(pair.a.name)!, factors.get(pair.b.name)!, pair));
  }
  return merged;
}

/** The file of a model of F32 matrices with the adapter merged into them. */
export async function mergedBytes(model: TinyModel, lora: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = model.bytes.slice();
  const { dataOffsetBytes, tensors } = model.header;
  const merged = await mergedWeights(model, lora);
  for (const { name, type, offsetBytes } of tensors) {
    if (type !== "F32") throw new Error(`${name} is ${type}; only F32 is merged.`);
    bytes.set(quantize("F32", merged.get(name)!), dataOffsetBytes + offsetBytes);
  }
  return bytes;
}

function merge(w: Float32Array, a: Float32Array, b: Float32Array, { rank, scale }: LoraPair): Float32Array {
  const inner = a.length / rank;
  return w.map((value, at) => {
    const [row, column] = [Math.floor(at / inner), at % inner];
    let sum = 0;
    for (let r = 0; r < rank; r++) sum += b[row * rank + r]! * a[r * inner + column]!;
    return value + scale * sum;
  });
}
