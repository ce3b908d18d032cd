/**
 * GGUF as data: what `gguf-reader.ts` returns. Format: ggml docs/gguf.md, version 3 (2 is read too), little-endian.
 */

/** GGUF tensor types that the engines read. Values are the ids in the file (ggml_type). */
export const GGML_TYPE = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q4_1: 3,
  Q5_0: 6,
  Q5_1: 7,
  Q8_0: 8,
  Q2_K: 10,
  Q3_K: 11,
  Q4_K: 12,
  Q5_K: 13,
  Q6_K: 14,
  IQ4_NL: 20,
  IQ4_XS: 23,
  BF16: 30,
} as const;

export type GgmlTypeName = keyof typeof GGML_TYPE;

/** Elements and bytes of one block of each type; a row holds whole blocks. */
export const GGML_BLOCK: Record<GgmlTypeName, { elements: number; bytes: number }> = {
  F32: { elements: 1, bytes: 4 },
  F16: { elements: 1, bytes: 2 },
  BF16: { elements: 1, bytes: 2 },
  Q4_0: { elements: 32, bytes: 18 },
  Q4_1: { elements: 32, bytes: 20 },
  Q5_0: { elements: 32, bytes: 22 },
  Q5_1: { elements: 32, bytes: 24 },
  Q8_0: { elements: 32, bytes: 34 },
  Q2_K: { elements: 256, bytes: 84 },
  Q3_K: { elements: 256, bytes: 110 },
  Q4_K: { elements: 256, bytes: 144 },
  Q5_K: { elements: 256, bytes: 176 },
  Q6_K: { elements: 256, bytes: 210 },
  IQ4_NL: { elements: 32, bytes: 18 },
  IQ4_XS: { elements: 256, bytes: 136 },
};

export type GgufScalar = number | bigint | boolean | string;
/** Number arrays come as typed arrays where the file's type allows, string arrays as string[]. 64-bit integers are
 * numbers when safe, bigints otherwise. */
export type GgufValue = GgufScalar | GgufArray;
export type GgufArray =
  | string[]
  | boolean[]
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigInt64Array
  | BigUint64Array
  | GgufValue[];

export interface GgufTensorInfo {
  name: string;
  type: GgmlTypeName;
  /** Innermost dimension first, as in the file: a [out, in] matrix is [in, out] here. */
  dims: number[];
  /** From the start of the data section. */
  offsetBytes: number;
  sizeBytes: number;
}

export interface GgufHeader {
  version: number;
  metadata: Map<string, GgufValue>;
  tensors: GgufTensorInfo[];
  alignmentBytes: number;
  /** File offset of the data section. */
  dataOffsetBytes: number;
}
