/** Rows of a file → rows in GPU memory, and which types there are. */
import { numChunks } from "../lanes.ts";
import { BLOCK_FORMATS } from "./blocks.ts";
import { DENSE_FORMATS } from "./dense.ts";
import { type GpuWeightType, type PackedRows, quantWords, type WeightFormat } from "./format.ts";
import { K_FORMATS } from "./k-quants.ts";

export const WEIGHT_FORMATS: readonly WeightFormat[] = [...DENSE_FORMATS, ...BLOCK_FORMATS, ...K_FORMATS];

export const GPU_WEIGHT_TYPES: readonly GpuWeightType[] = WEIGHT_FORMATS.map(({ type }) => type);

export function weightFormat(type: GpuWeightType): WeightFormat {
  return WEIGHT_FORMATS.find((format) => format.type === type)!;
}

/** @param file whole rows of k elements @throws RangeError where the length is no whole number of rows */
export function packRows(format: WeightFormat, file: Uint8Array, k: number): PackedRows {
  const rowBytes = format.fileRowBytes(k);
  const rows = file.length / rowBytes;
  if (!Number.isInteger(rows)) {
    throw new RangeError(
      `${file.length} bytes are no whole ${format.type} rows of ${k} elements (${rowBytes} bytes each).`,
    );
  }
  const chunks = numChunks(k);
  const [quantRow, extraRow] = [quantWords(format, chunks), format.extraWords(chunks)];
  const quants = new Uint32Array(rows * quantRow);
  const extras = new Uint32Array(rows * extraRow);
  for (let row = 0; row < rows; row++) {
    format.packRow(
      new DataView(file.buffer, file.byteOffset + row * rowBytes, rowBytes),
      k,
      quants.subarray(row * quantRow, (row + 1) * quantRow),
      extras.subarray(row * extraRow, (row + 1) * extraRow),
    );
  }
  return { quants, extras };
}
