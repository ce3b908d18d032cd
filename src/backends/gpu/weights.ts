/**
 * Weights from a GGUF file to the GPU. A matrix here may hold several roles of one layer: q, k and v one after another, gate
 * and up row by row, so that one product computes them. Types without a kernel, and roles of one product whose types differ,
 * become f16.
 *
 * The file is read once, in its order. A matrix is packed on the CPU as its tensors come and uploaded when it is whole, so
 * that what the CPU holds at a time is the tensors of a layer.
 */

import { numChunks } from "../../../kernels-gpu/lanes.ts";
import { type GpuWeightType, type PackedRows, quantWords } from "../../../kernels-gpu/weights/format.ts";
import { emptyRows, GPU_WEIGHT_TYPES, packInto, weightFormat } from "../../../kernels-gpu/weights/pack.ts";
import { dequantize } from "../../model/dequantize.ts";
import { floatToHalf } from "../../model/float16.ts";
import type { GgmlTypeName, GgufHeader, GgufTensorInfo } from "../../model/gguf.ts";
import { type GgufData, tensorPieces } from "../../model/gguf-reader.ts";
import type { RoleTensor } from "../../model/model-spec.ts";
import type { GpuDevice } from "./device.ts";

export interface GpuMatrix {
  weightType: GpuWeightType;
  /** Rows of all roles. */
  n: number;
  k: number;
  quants: GPUBuffer;
  extras: GPUBuffer;
}

/** What the loader is asked for; filled when `load` has returned. */
interface WantedMatrix {
  matrix: GpuMatrix;
  roles: { role: RoleTensor; firstRow: number; rowStep: number }[];
  packed: PackedRows | null;
  missing: number;
}

interface WantedVector {
  buffer: GPUBuffer;
  roles: { role: RoleTensor; first: number }[];
}

/** Gives a matrix weights that no file has: for measurements. */
export type MatrixFiller = (device: GpuDevice, matrix: GpuMatrix) => Promise<void>;

export class WeightLoader {
  readonly #device: GpuDevice;
  readonly #matrices: WantedMatrix[] = [];
  readonly #vectors: WantedVector[] = [];
  readonly #raw = new Map<string, Float32Array>();
  readonly #kept = new Set<string>();
  bytes = 0;

  constructor(device: GpuDevice) {
    this.#device = device;
  }

  /** One role, or several as rows of one matrix. @param layout "stacked": one after another; "interleaved": row by row */
  matrix(roles: readonly RoleTensor[], layout: "stacked" | "interleaved" = "stacked"): GpuMatrix {
    const k = roles[0]!.dims[0]!;
    const rows = roles.map(({ dims }) => dims[1]!);
    const n = rows.reduce((sum, count) => sum + count, 0);
    const format = weightFormat(commonType(roles));
    const chunks = numChunks(k);
    const quantBytes = n * quantWords(format, chunks) * 4;
    const extraBytes = n * format.extraWords(chunks) * 4;
    const label = roles.map(({ name }) => name).join(" + ");
    const matrix = {
      weightType: format.type,
      n,
      k,
      quants: this.#device.buffer(label, quantBytes),
      extras: this.#device.buffer(`${label}, extras`, extraBytes),
    };
    let firstRow = 0;
    const places = roles.map((role, i) => {
      const place = {
        role,
        firstRow: layout === "stacked" ? firstRow : i,
        rowStep: layout === "stacked" ? 1 : roles.length,
      };
      firstRow += rows[i]!;
      return place;
    });
    this.#matrices.push({ matrix, roles: places, packed: null, missing: roles.length });
    this.bytes += quantBytes + extraBytes;
    return matrix;
  }

  /** Vectors one after another; where one is null, zeros. @param lengths of each */
  vector(roles: readonly (RoleTensor | null)[], lengths: readonly number[]): GPUBuffer {
    const total = lengths.reduce((sum, length) => sum + length, 0);
    const buffer = this.#device.buffer(roles.map((role) => role?.name ?? "zeros").join(" + "), total * 4);
    const places: WantedVector["roles"] = [];
    let first = 0;
    for (const [i, role] of roles.entries()) {
      if (role !== null) places.push({ role, first });
      first += lengths[i]!;
    }
    this.#vectors.push({ buffer, roles: places });
    this.bytes += total * 4;
    return buffer;
  }

  /** Asks for a tensor's numbers on the CPU; `numbers` has them after `load`. */
  keep(tensor: GgufTensorInfo): void {
    this.#kept.add(tensor.name);
  }

  numbers(tensor: GgufTensorInfo): Float32Array {
    return this.#raw.get(tensor.name)!;
  }

  /** @throws ModelError where the file ends early, Error where it lacks a tensor */
  async load(header: GgufHeader, data: GgufData): Promise<void> {
    let bytes = new Uint8Array(0);
    const wanted = this.#wantedNames();
    for await (const { tensor, offsetBytes, bytes: piece } of tensorPieces(header, data)) {
      if (!wanted.has(tensor.name)) continue;
      if (offsetBytes === 0) bytes = new Uint8Array(tensor.sizeBytes);
      bytes.set(piece, offsetBytes);
      if (offsetBytes + piece.length < tensor.sizeBytes) continue;
      await this.#take(tensor, bytes);
      wanted.delete(tensor.name);
    }
    if (wanted.size > 0) throw new Error(`The file is not the one of the spec: it lacks ${[...wanted].join(", ")}.`);
  }

  /** Instead of `load`: matrices as `fillMatrix` makes them, all vectors ones. @throws Error where tensors are kept on the CPU */
  async fill(fillMatrix: MatrixFiller): Promise<void> {
    if (this.#kept.size > 0) throw new Error(`Without a file there are no numbers of ${[...this.#kept].join(", ")}.`);
    for (const { matrix } of this.#matrices) await fillMatrix(this.#device, matrix);
    for (const { buffer } of this.#vectors) this.#device.upload(buffer, new Float32Array(buffer.size / 4).fill(1));
  }

  #wantedNames(): Set<string> {
    const roles = [...this.#matrices, ...this.#vectors].flatMap((wanted) => wanted.roles.map(({ role }) => role));
    return new Set([...roles.map(({ stored }) => stored.name), ...this.#kept]);
  }

  async #take(tensor: GgufTensorInfo, bytes: Uint8Array): Promise<void> {
    if (this.#kept.has(tensor.name)) this.#raw.set(tensor.name, dequantize(tensor.type, bytes));
    for (const { buffer, roles } of this.#vectors) {
      for (const { role, first } of roles) {
        if (role.stored.name !== tensor.name) continue;
        const length = role.dims[0]!;
        const values = dequantize(tensor.type, bytes).subarray(role.firstRow, role.firstRow + length);
        this.#device.upload(buffer, values, first * 4);
      }
    }
    for (const wanted of this.#matrices) {
      for (const { role, firstRow, rowStep } of wanted.roles) {
        if (role.stored.name === tensor.name) await this.#pack(wanted, role, rowsOf(role, bytes), firstRow, rowStep);
      }
    }
  }

  async #pack(
    wanted: WantedMatrix,
    role: RoleTensor,
    rows: Uint8Array,
    firstRow: number,
    rowStep: number,
  ): Promise<void> {
    const { weightType, n, k, quants, extras } = wanted.matrix;
    const format = weightFormat(weightType);
    wanted.packed ??= emptyRows(format, n, k);
    packInto(wanted.packed, format, inType(role.type, rows, weightType), k, firstRow, rowStep);
    wanted.missing--;
    if (wanted.missing > 0) return;
    await this.#device.uploadLarge(quants, wanted.packed.quants);
    if (wanted.packed.extras.length > 0) await this.#device.uploadLarge(extras, wanted.packed.extras);
    wanted.packed = null;
  }
}

function commonType(roles: readonly RoleTensor[]): GpuWeightType {
  const type = roles[0]!.type;
  const fits = (GPU_WEIGHT_TYPES as readonly GgmlTypeName[]).includes(type);
  return fits && roles.every((role) => role.type === type) ? (type as GpuWeightType) : "F16";
}

/** The role's rows of its tensor's bytes. */
function rowsOf({ stored, firstRow, sizeBytes }: RoleTensor, bytes: Uint8Array): Uint8Array {
  const start = (stored.sizeBytes / stored.dims[1]!) * firstRow;
  return bytes.subarray(start, start + sizeBytes);
}

function inType(type: GgmlTypeName, bytes: Uint8Array, wanted: GpuWeightType): Uint8Array {
  if (type === wanted) return bytes;
  const halves = Uint16Array.from(dequantize(type, bytes), floatToHalf);
  return new Uint8Array(halves.buffer);
}
