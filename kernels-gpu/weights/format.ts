/**
 * How a weight matrix lies in GPU memory, and how a kernel reads it. Every type is cut into chunks of 32 elements along k:
 *
 *  - `quants`: `unitsPerChunk` 16-byte units of a chunk, rows one after another, each in lane-major order (`lanes.ts`);
 *  - `extras`: what else a row has (scales, high bits), `extraWords(chunks)` words a row.
 *
 * Values are those of the file, bit for bit; only their places change. K that is no multiple of 32 is padded with zeros.
 */
import type { GgmlTypeName } from "../../src/model/gguf.ts";

export type GpuWeightType = Extract<GgmlTypeName, "F32" | "F16" | "BF16" | "Q8_0" | "Q4_0" | "Q4_K" | "Q6_K">;

export interface PackedRows {
  quants: Uint32Array<ArrayBuffer>;
  extras: Uint32Array<ArrayBuffer>;
}

export interface WeightFormat {
  type: GpuWeightType;
  unitsPerChunk: number;
  extraWords(chunks: number): number;
  /** Bytes of a file's row of k elements. */
  fileRowBytes(k: number): number;
  /** Packs one row: `file` is that row's bytes, `quants` and `extras` that row's words, all zero. */
  packRow(file: DataView, k: number, quants: Uint32Array, extras: Uint32Array): void;
  /**
   * `struct Chunk`, `fn load_chunk(row, chunk) -> Chunk` and `decode_0` … `decode_7`, the chunk's elements 4j … 4j + 3.
   * Uses the bindings `quants: array<vec4<u32>>` and `extras: array<u32>`.
   */
  wgsl(chunks: number): string;
}

/** Of one row. */
export function quantWords(format: WeightFormat, chunks: number): number {
  return chunks * format.unitsPerChunk * 4;
}

/** WGSL of `first_unit`, `unit_stride`: where a chunk's units are, shared by all formats. */
export function placeWgsl(unitsPerChunk: number, chunks: number): string {
  return /* wgsl */ `
fn first_unit(row: u32, chunk: u32) -> u32 {
  let first = chunk & 0xfffffff0u;
  return (row * ${chunks}u + first) * ${unitsPerChunk}u + (chunk - first);
}
fn unit_stride(chunk: u32) -> u32 {
  return min(16u, ${chunks}u - (chunk & 0xfffffff0u));
}`;
}
