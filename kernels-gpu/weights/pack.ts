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

/** Room for `rows` rows of k elements, all zero. */
export function emptyRows(format: WeightFormat, rows: number, k: number): PackedRows {
  const chunks = numChunks(k);
  return {
    quants: new Uint32Array(rows * quantWords(format, chunks)),
    extras: new Uint32Array(rows * format.extraWords(chunks)),
  };
}

/**
 * Packs a file's rows into `target`, as rows firstRow, firstRow + rowStep, … of it.
 * @param file whole rows of k elements @throws RangeError where the length is no whole number of rows
 */
export function packInto(
  target: PackedRows,
  format: WeightFormat,
  file: Uint8Array,
  k: number,
  firstRow = 0,
  rowStep = 1,
): void {
  const rowBytes = format.fileRowBytes(k);
  const rows = file.length / rowBytes;
  if (!Number.isInteger(rows)) {
    const wanted = `${format.type} rows of ${k} elements (${rowBytes} bytes each)`;
    throw new RangeError(`${file.length} bytes are no whole ${wanted}.`);
  }
  const chunks = numChunks(k);
  const [quantRow, extraRow] = [quantWords(format, chunks), format.extraWords(chunks)];
  for (let i = 0; i < rows; i++) {
    const row = firstRow + i * rowStep;
    format.packRow(
      new DataView(file.buffer, file.byteOffset + i * rowBytes, rowBytes),
      k,
      target.quants.subarray(row * quantRow, (row + 1) * quantRow),
      target.extras.subarray(row * extraRow, (row + 1) * extraRow),
    );
  }
}

/** A whole matrix. @throws as `packInto` */
export function packRows(format: WeightFormat, file: Uint8Array, k: number): PackedRows {
  const packed = emptyRows(format, Math.floor(file.length / format.fileRowBytes(k)), k);
  packInto(packed, format, file, k);
  return packed;
}
