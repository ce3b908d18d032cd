/** Every weight type on every kernel set: packing, reading a row back, and products against exact sums. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatId, MODULE_BYTES, packedBytes } from "../../../src/backends/cpu/exports.ts";
import { KERNEL_SETS, type KernelSet } from "../../../src/backends/cpu/kernel-set.ts";
import { dequantize } from "../../../src/model/dequantize.ts";
import { floatToHalf } from "../../../src/model/float16.ts";
import { GGML_BLOCK, GGML_TYPE, type GgmlTypeName } from "../../../src/model/gguf.ts";
import { quantize } from "../../support/quantize.ts";
import { normalSource, uniformSource } from "../../support/random.ts";
import { kernelsWithMemory } from "./support.ts";

const TYPES = Object.keys(GGML_TYPE) as GgmlTypeName[];
const isDense = (type: GgmlTypeName) => GGML_BLOCK[type].elements === 1;
/** Of the sum of magnitudes of the products. */
const RELATIVE_ERROR_MAX = 1e-5;
/** Where a block's f16 numbers lie; all its other bytes may hold anything. */
const HALVES_AT: Partial<Record<GgmlTypeName, number[]>> = {
  Q4_1: [0, 2],
  Q5_1: [0, 2],
  Q2_K: [80, 82],
  Q3_K: [108],
  Q4_K: [0, 2],
  Q5_K: [0, 2],
  Q6_K: [208],
};

/** A kernel instance with one packed matrix. */
class PackedMatrix {
  readonly type: GgmlTypeName;
  readonly rows: number;
  readonly cols: number;
  readonly stored: Uint8Array;
  readonly #exports;
  readonly #addresses;

  constructor(set: KernelSet, type: GgmlTypeName, rows: number, cols: number, stored: Uint8Array, numTokens: number) {
    this.type = type;
    this.rows = rows;
    this.cols = cols;
    this.stored = stored;
    const packed = Math.ceil(packedBytes(type, rows, cols, GGML_BLOCK[type].elements) / 64) * 64;
    const workspace = (numTokens + 1) * Math.ceil(cols / 32) * 128;
    const sizes = [stored.length, packed, numTokens * cols * 4, workspace, numTokens * (rows + 4) * 4, cols * 4];
    const starts = sizes.map((_, i) =>
      sizes.slice(0, i).reduce((sum, bytes) => sum + Math.ceil(bytes / 64) * 64, MODULE_BYTES),
    );
    const [source = 0, matrix = 0, values = 0, work = 0, out = 0, row = 0] = starts;
    this.#addresses = { source, matrix, values, work, out, row };
    this.#exports = kernelsWithMemory(set, row + cols * 4);
    new Uint8Array(this.#exports.memory.buffer, source, stored.length).set(stored);
    const numBlocks = stored.length / GGML_BLOCK[type].bytes;
    expect(this.#exports.packed_bytes(formatId(type), rows, cols)).toBe(
      packedBytes(type, rows, cols, GGML_BLOCK[type].elements),
    );
    expect(this.#exports.pack_blocks(formatId(type), rows, cols, matrix, 0, source, numBlocks)).toBe(0);
  }

  /** [tokens][rows] for tokens of `values`. */
  multiply(values: Float32Array[]): Float32Array[] {
    const { matrix, values: at, work, out } = this.#addresses;
    const { buffer } = this.#exports.memory;
    values.forEach((token, i) => {
      new Float32Array(buffer, at + i * this.cols * 4, this.cols).set(token);
    });
    const failed = this.#exports.debug_matmul(
      formatId(this.type),
      this.rows,
      this.cols,
      matrix,
      at,
      values.length,
      work,
      out,
    );
    expect(failed).toBe(0);
    const stride = Math.ceil(this.rows / 4) * 4;
    return values.map((_, i) => new Float32Array(buffer, out + i * stride * 4, this.rows).slice());
  }

  readRow(row: number): Float32Array {
    const { matrix, row: at } = this.#addresses;
    this.#exports.debug_read_row(formatId(this.type), this.rows, this.cols, matrix, row, at);
    return new Float32Array(this.#exports.memory.buffer, at, this.cols).slice();
  }
}

/** What the kernels make of activations: int8 with a scale for each 32, in f32 arithmetic, ties to even. */
function quantizedActivations(values: Float32Array): Float64Array {
  const out = new Float64Array(values.length);
  for (let from = 0; from < values.length; from += 32) {
    const block = values.subarray(from, from + 32);
    const largest = block.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const scale = Math.fround(largest / 127);
    const inverse = largest > 0 ? Math.fround(127 / largest) : 0;
    block.forEach((value, i) => {
      const exact = Math.fround(value * inverse);
      const floor = Math.floor(exact);
      const isTie = exact - floor === 0.5;
      out[from + i] = scale * (isTie ? floor + (floor & 1) : Math.round(exact));
    });
  }
  return out;
}

function expectProduct(matrix: PackedMatrix, values: Float32Array[], actual: Float32Array[]): void {
  const weights = dequantize(matrix.type, matrix.stored);
  values.forEach((token, t) => {
    const x = isDense(matrix.type) ? Float64Array.from(token) : quantizedActivations(token);
    for (let row = 0; row < matrix.rows; row++) {
      let [sum, magnitude] = [0, 0];
      for (let k = 0; k < matrix.cols; k++) {
        const product = weights[row * matrix.cols + k]! * x[k]!;
        sum += product;
        magnitude += Math.abs(product);
      }
      const error = Math.abs(actual[t]![row]! - sum);
      if (!(error <= RELATIVE_ERROR_MAX * magnitude)) {
        expect.fail(`row ${row} of token ${t}: ${actual[t]![row]}, exactly ${sum}, magnitude ${magnitude}`);
      }
    }
  });
}

/** Scale times quant, plus min: four roundings in f32 where the reference has one. */
function expectRow(matrix: PackedMatrix, row: number): void {
  const expected = dequantize(matrix.type, matrix.stored).subarray(row * matrix.cols, (row + 1) * matrix.cols);
  const largest = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const errorMax = isDense(matrix.type) ? 0 : largest * 2 ** -22;
  matrix.readRow(row).forEach((value, k) => {
    const error = Math.abs(value - expected[k]!);
    if (!(error <= errorMax)) expect.fail(`element ${k} of row ${row}: ${value}, exactly ${expected[k]}`);
  });
}

function randomRows(numRows: number, cols: number, seed: number): Float32Array[] {
  const normal = normalSource(seed);
  return Array.from({ length: numRows }, () => Float32Array.from({ length: cols }, () => normal()));
}

function randomMatrix(set: KernelSet, type: GgmlTypeName, rows: number, cols: number, numTokens: number): PackedMatrix {
  const normal = normalSource(rows * 1000 + cols);
  const values = Float32Array.from({ length: rows * cols }, () => normal());
  return new PackedMatrix(set, type, rows, cols, quantize(type, values), numTokens);
}

function setHalves(type: GgmlTypeName, block: Uint8Array, value: () => number): void {
  const view = new DataView(block.buffer, block.byteOffset);
  for (const at of HALVES_AT[type] ?? [0]) view.setUint16(at, floatToHalf(value()), true);
}

/** A block with every quant bit set (or none), and scales of 1 where they are f16. */
function extremeBlock(type: GgmlTypeName, bits: number): Uint8Array {
  const block = new Uint8Array(GGML_BLOCK[type].bytes).fill(bits);
  if (type === "Q8_0") block.fill(bits === 0 ? 0x81 : 0x7f, 2);
  setHalves(type, block, () => 1);
  return block;
}

/** Blocks that no quantizer would make: any bytes, half of them with all bits alike. */
function arbitraryBlocks(type: GgmlTypeName, numBlocks: number, random: () => number): Uint8Array {
  const bytes = Uint8Array.from({ length: numBlocks * GGML_BLOCK[type].bytes }, () =>
    random() < 0.5 ? random() * 256 : random() < 0.5 ? 0 : 0xff,
  );
  for (let i = 0; i < numBlocks; i++) {
    const block = bytes.subarray(i * GGML_BLOCK[type].bytes, (i + 1) * GGML_BLOCK[type].bytes);
    setHalves(type, block, () => (random() + 0.5) * (random() < 0.5 ? -1 : 1));
  }
  return bytes;
}

/** Activations of which half are at the largest magnitude, where int8 is ±127. */
function loudRow(cols: number, random: () => number): Float32Array {
  return Float32Array.from({ length: cols }, () => (random() < 0.5 ? 2 * random() - 1 : random() < 0.5 ? -1 : 1));
}

describe.each(KERNEL_SETS)("%s", (set) => {
  describe.each(TYPES)("%s", (type) => {
    const unit = Math.max(GGML_BLOCK[type].elements, 32);

    test("rows read back are what the file means", () => {
      const matrix = randomMatrix(set, type, 7, 2 * unit, 1);
      for (let row = 0; row < matrix.rows; row++) expectRow(matrix, row);
    });

    test.each([
      [4, 1, 1],
      [5, 2, 2],
      [16, 1, 4],
      [37, 3, 7],
      [64, 2, 1],
    ])(
      "%i rows, %i blocks, %i tokens: products are exact sums of their own arithmetic",
      (rows, numUnits, numTokens) => {
        const matrix = randomMatrix(set, type, rows, numUnits * unit, numTokens);
        const values = randomRows(numTokens, matrix.cols, rows);
        expectProduct(matrix, values, matrix.multiply(values));
      },
    );

    test("a token's result does not depend on how many share the call", () => {
      const matrix = randomMatrix(set, type, 39, 2 * unit, 7);
      const values = randomRows(7, matrix.cols, 3);
      const together = matrix.multiply(values);
      for (let n = 1; n < 7; n++) expect(matrix.multiply(values.slice(0, n))).toEqual(together.slice(0, n));
      for (let i = 0; i < 7; i++) expect(matrix.multiply([values[i]!])).toEqual([together[i]]);
    });

    if (!isDense(type)) {
      test.each([0, 0xff])("quants of %i against the largest activations do not overflow", (bits) => {
        const block = extremeBlock(type, bits);
        const [rows, numBlocks] = [16, 2];
        const stored = new Uint8Array(block.length * rows * numBlocks);
        for (let i = 0; i < rows * numBlocks; i++) stored.set(block, i * block.length);
        const cols = numBlocks * GGML_BLOCK[type].elements;
        const matrix = new PackedMatrix(set, type, rows, cols, stored, 3);
        const values = [
          new Float32Array(cols).fill(3),
          new Float32Array(cols).fill(-3),
          Float32Array.from({ length: cols }, (_, k) => (k % 4 < 2 ? 5 : -5)),
        ];
        expectProduct(matrix, values, matrix.multiply(values));
      });
    }

    if (!isDense(type)) {
      test("any block against any activations: rows and products are what the file means", () => {
        fc.assert(
          fc.property(fc.integer(), fc.integer({ min: 1, max: 6 }), (seed, numTokens) => {
            const random = uniformSource(seed);
            const [rows, cols] = [21, 2 * unit];
            const stored = arbitraryBlocks(type, (rows * cols) / GGML_BLOCK[type].elements, random);
            const matrix = new PackedMatrix(set, type, rows, cols, stored, numTokens);
            const values = Array.from({ length: numTokens }, () => loudRow(cols, random));
            expectProduct(matrix, values, matrix.multiply(values));
            expectRow(matrix, seed & 15);
          }),
          { numRuns: 25 },
        );
      });
    }

    test("rows of zeros give zeros", () => {
      const matrix = randomMatrix(set, type, 4, unit, 1);
      const [product] = matrix.multiply([new Float32Array(unit)]);
      expect(product!.every((value) => value === 0)).toBe(true);
    });
  });

  test("packing outside the matrix or the memory is refused", () => {
    const exports = kernelsWithMemory(set, 65_536);
    const end = exports.memory.buffer.byteLength;
    const format = formatId("Q4_0");
    expect(exports.pack_blocks(format, 4, 32, MODULE_BYTES, 3, MODULE_BYTES + 4096, 2)).toBe(1);
    expect(exports.pack_blocks(format, 4, 32, end - 8, 0, MODULE_BYTES, 1)).toBe(1);
    expect(exports.pack_blocks(format, 4, 32, MODULE_BYTES, 0, end - 8, 1)).toBe(1);
    expect(exports.pack_blocks(format, 4, 33, MODULE_BYTES, 0, MODULE_BYTES + 4096, 1)).toBe(1);
    expect(exports.pack_blocks(99, 4, 32, MODULE_BYTES, 0, MODULE_BYTES + 4096, 1)).toBe(1);
  });
});
