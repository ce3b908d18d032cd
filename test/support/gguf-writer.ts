/**
 * Writes GGUF files for tests: any metadata, any tensors, also impossible ones (a type id without a reader, an offset
 * out of place), so that the reader's refusals can be provoked.
 */
import { GGML_TYPE, type GgmlTypeName } from "../../src/model/gguf.ts";

const VALUE_TYPE = {
  u8: 0,
  i8: 1,
  u16: 2,
  i16: 3,
  u32: 4,
  i32: 5,
  f32: 6,
  bool: 7,
  string: 8,
  array: 9,
  u64: 10,
  i64: 11,
  f64: 12,
} as const;

type ScalarType = Exclude<keyof typeof VALUE_TYPE, "array">;
type Scalar = number | bigint | boolean | string;

/** A metadata value with its type in the file; `of` for arrays. */
export type WriterValue =
  | { type: ScalarType; value: Scalar }
  | { type: "array"; of: ScalarType; value: ArrayLike<Scalar> }
  | { type: "array"; of: "array"; value: WriterValue[] };

export const u32 = (value: number): WriterValue => ({ type: "u32", value });
export const f32 = (value: number): WriterValue => ({ type: "f32", value });
export const bool = (value: boolean): WriterValue => ({ type: "bool", value });
export const string = (value: string): WriterValue => ({ type: "string", value });
export const strings = (value: string[]): WriterValue => ({ type: "array", of: "string", value });
export const i32s = (value: number[]): WriterValue => ({ type: "array", of: "i32", value });
export const f32s = (value: number[]): WriterValue => ({ type: "array", of: "f32", value });

export interface WriterTensor {
  name: string;
  /** A number writes that type id as it is. */
  type: GgmlTypeName | number;
  /** Innermost first. */
  dims: number[];
  data: Uint8Array;
  /** Written instead of the true offset. */
  offsetBytes?: number;
}

export interface WriterFile {
  version?: number;
  alignmentBytes?: number;
  metadata: Iterable<readonly [string, WriterValue]>;
  tensors: WriterTensor[];
}

export function writeGguf(file: WriterFile): Uint8Array<ArrayBuffer> {
  const alignment = file.alignmentBytes ?? 32;
  const metadata = [...file.metadata];
  const out = new ByteWriter();
  out.raw(new TextEncoder().encode("GGUF"));
  out.u32(file.version ?? 3);
  out.u64(file.tensors.length);
  out.u64(metadata.length);
  for (const [key, value] of metadata) {
    out.string(key);
    out.u32(VALUE_TYPE[value.type]);
    writeValue(out, value);
  }
  let offset = 0;
  for (const tensor of file.tensors) {
    out.string(tensor.name);
    out.u32(tensor.dims.length);
    for (const dim of tensor.dims) out.u64(dim);
    out.u32(typeof tensor.type === "number" ? tensor.type : GGML_TYPE[tensor.type]);
    out.u64(tensor.offsetBytes ?? offset);
    offset = Math.ceil((offset + tensor.data.length) / alignment) * alignment;
  }
  out.align(alignment);
  for (const tensor of file.tensors) {
    out.raw(tensor.data);
    out.align(alignment);
  }
  return out.finish();
}

function writeValue(out: ByteWriter, value: WriterValue): void {
  if (value.type !== "array") {
    out.scalar(value.type, value.value);
    return;
  }
  out.u32(VALUE_TYPE[value.of]);
  out.u64(value.value.length);
  if (value.of === "array") for (const inner of value.value) writeValue(out, inner);
  else for (const item of Array.from(value.value)) out.scalar(value.of, item);
}

class ByteWriter {
  #bytes = new Uint8Array(1 << 16);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  raw(bytes: Uint8Array): void {
    const at = this.#grow(bytes.length);
    this.#bytes.set(bytes, at);
  }

  align(alignment: number): void {
    this.#grow((alignment - (this.#length % alignment)) % alignment);
  }

  u32(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
  }

  u64(value: number | bigint): void {
    const at = this.#grow(8);
    this.#view.setBigUint64(at, BigInt(value), true);
  }

  string(value: string): void {
    const bytes = new TextEncoder().encode(value);
    this.u64(bytes.length);
    this.raw(bytes);
  }

  scalar(type: ScalarType, value: Scalar): void {
    if (type === "string") this.string(String(value));
    else if (type === "u64") this.u64(BigInt(value));
    else if (type === "i64") this.#number(8, (view, at) => view.setBigInt64(at, BigInt(value), true));
    else this.#small(type, Number(value));
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  #small(type: Exclude<ScalarType, "string" | "u64" | "i64">, value: number): void {
    if (type === "u8" || type === "bool") this.#number(1, (view, at) => view.setUint8(at, value));
    else if (type === "i8") this.#number(1, (view, at) => view.setInt8(at, value));
    else if (type === "u16") this.#number(2, (view, at) => view.setUint16(at, value, true));
    else if (type === "i16") this.#number(2, (view, at) => view.setInt16(at, value, true));
    else if (type === "u32") this.#number(4, (view, at) => view.setUint32(at, value, true));
    else if (type === "i32") this.#number(4, (view, at) => view.setInt32(at, value, true));
    else if (type === "f32") this.#number(4, (view, at) => view.setFloat32(at, value, true));
    else this.#number(8, (view, at) => view.setFloat64(at, value, true));
  }

  #number(sizeBytes: number, write: (view: DataView, at: number) => void): void {
    const at = this.#grow(sizeBytes);
    write(this.#view, at);
  }

  /** Makes room and moves on. @returns where the room starts */
  #grow(numBytes: number): number {
    const at = this.#length;
    this.#length += numBytes;
    if (this.#length > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(this.#length, this.#bytes.length * 2));
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    return at;
  }
}
