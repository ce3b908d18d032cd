/**
 * LoRA adapters from their files to the GPU. An adapter is small, so each file is read whole; then what all adapters have for
 * one product is packed together, as `kernels-gpu/lora/segments.ts` lays it out.
 */
import { elementBytes, type LoraType, packColumns, unitWords } from "../../../kernels-gpu/lora/pack.ts";
import { type LoraPart, planSegments } from "../../../kernels-gpu/lora/segments.ts";
import { emptyRows, packInto, weightFormat } from "../../../kernels-gpu/weights/pack.ts";
import { dequantize } from "../../model/dequantize.ts";
import type { GgufHeader } from "../../model/gguf.ts";
import { type GgufData, tensorPieces } from "../../model/gguf-reader.ts";
import type { LoraPair, LoraPairs, LoraTensor } from "../../model/lora-from-gguf.ts";
import type { RoleTensor } from "../../model/model-spec.ts";
import type { GpuDevice } from "./device.ts";

export interface LoraFile {
  /** From `readGguf`; the data is read to its end. */
  header: GgufHeader;
  data: GgufData;
  /** From `loraFromGguf`. */
  pairs: LoraPairs;
}

/** One adapter on the CPU, until it is packed. */
export interface LoraContent {
  pairs: LoraPairs;
  /** Of each tensor. */
  bytes: ReadonlyMap<string, Uint8Array>;
}

/** @throws ModelError where the file ends early */
export async function readLora({ header, data, pairs }: LoraFile): Promise<LoraContent> {
  const bytes = new Map(header.tensors.map(({ name, sizeBytes }) => [name, new Uint8Array(sizeBytes)]));
  for await (const piece of tensorPieces(header, data))
    bytes.get(piece.tensor.name)!.set(piece.bytes, piece.offsetBytes);
  return { pairs, bytes };
}

/** What all adapters have for one product. */
export interface LoraSiteWeights {
  aType: LoraType;
  bType: LoraType;
  /** Rows of A that one adapter has, at the most. */
  numOwnRows: number;
  segments: GPUBuffer;
  quants: GPUBuffer;
  b: GPUBuffer;
  bytes: number;
}

/** A projection of the product: the base's weights, and where their results go. */
export interface LoraPlace {
  role: RoleTensor;
  part: LoraPart;
}

/** @returns null where no adapter has anything for these projections */
export async function packLoraSite(
  device: GpuDevice,
  loras: readonly LoraContent[],
  places: readonly LoraPlace[],
): Promise<LoraSiteWeights | null> {
  const pairs = loras.map((lora) => places.map(({ role }) => lora.pairs.get(role.stored.name) ?? null));
  const all = pairs.flat().filter((pair) => pair !== null);
  if (all.length === 0) return null;
  const aType = commonType(all.map(({ a }) => a));
  const bType = commonType(all.map(({ b }) => b));
  const parts = places.map(({ part }) => part);
  const { segments, numRows, numOwnRows, numUnits } = planSegments(parts, pairs);
  const k = places[0]!.role.dims[0]!;
  const a = emptyRows(weightFormat(aType), numRows, k);
  const b = new Uint32Array(numUnits * unitWords(bType));
  for (const [i, lora] of loras.entries()) {
    const first = 4 * i * (1 + places.length);
    for (const [j, place] of places.entries()) {
      const pair = pairs[i]![j]!;
      if (pair === null) continue;
      const at = first + 4 * (1 + j);
      packInto(a, weightFormat(aType), inType(pair.a, lora, aType), k, segments[first]! + segments[at]!);
      packColumns(b, bType, rowsOf(place.role, pair, inType(pair.b, lora, bType), bType), {
        n: place.part.n,
        rank: pair.rank,
        firstUnit: segments[at + 2]!,
      });
    }
  }
  const label = `adapters of ${places.map(({ role }) => role.name).join(" + ")}`;
  const site = {
    segments: device.bufferOf(`${label}, segments`, segments),
    quants: device.buffer(`${label}, A`, a.quants.byteLength),
    b: device.buffer(`${label}, B`, b.byteLength),
  };
  await device.uploadLarge(site.quants, a.quants);
  await device.uploadLarge(site.b, b);
  return { aType, bType, numOwnRows, ...site, bytes: segments.byteLength + a.quants.byteLength + b.byteLength };
}

/** Adapters of different types become what holds them all. */
function commonType(tensors: readonly LoraTensor[]): LoraType {
  const { type } = tensors[0]!;
  return tensors.every((tensor) => tensor.type === type) ? type : "F32";
}

function inType(tensor: LoraTensor, { bytes }: LoraContent, wanted: LoraType): Uint8Array {
  const own = bytes.get(tensor.name)!;
  return tensor.type === wanted ? own : new Uint8Array(dequantize(tensor.type, own).buffer);
}

/** Of a tensor with several roles, the rows of B that are this one's. A is the same for all of them. */
function rowsOf({ firstRow, dims }: RoleTensor, { rank }: LoraPair, b: Uint8Array, type: LoraType): Uint8Array {
  const rowBytes = rank * elementBytes(type);
  return b.subarray(firstRow * rowBytes, (firstRow + dims[1]!) * rowBytes);
}
