/** One packed matrix with random weights in an instance of the kernels, and products with it by `debug_matmul`. */
import {
  type CpuExports,
  formatId,
  instantiateKernels,
  MODULE_BYTES,
  PAGE_BYTES,
} from "../../src/backends/cpu/exports.ts";
import { GGML_BLOCK, type GgmlTypeName } from "../../src/model/gguf.ts";
import { uniformSource } from "../../test/support/random.ts";
import { randomBlocks } from "./random-blocks.ts";

/** Of the file's blocks, handed to the packer at a time. */
const STAGING_BYTES = 1 << 18;
/** Several times what `debug_matmul` documents, for kernels that will want more. */
const WORKSPACE_BYTES_PER_VALUE = 16;

const align = (bytes: number) => Math.ceil(bytes / 64) * 64;

export class KernelMatrix {
  readonly type: GgmlTypeName;
  readonly rows: number;
  readonly cols: number;
  readonly packedBytes: number;
  readonly #exports: CpuExports;
  readonly #addresses: { matrix: number; values: number; workspace: number; out: number };

  /** @param maxTokens most tokens of a product */
  constructor(module: WebAssembly.Module, type: GgmlTypeName, rows: number, cols: number, maxTokens: number) {
    this.type = type;
    this.rows = rows;
    this.cols = cols;
    this.#exports = instantiateKernels(module);
    this.packedBytes = this.#exports.packed_bytes(formatId(type), rows, cols);
    const staging = align(MODULE_BYTES);
    const matrix = align(staging + STAGING_BYTES);
    const values = align(matrix + this.packedBytes);
    const workspace = align(values + maxTokens * cols * 4);
    const out = align(workspace + maxTokens * cols * WORKSPACE_BYTES_PER_VALUE);
    this.#addresses = { matrix, values, workspace, out };
    const endBytes = out + maxTokens * (rows + 4) * 4;
    this.#exports.memory.grow(Math.ceil(endBytes / PAGE_BYTES));
    this.#pack(staging);
    const uniform = uniformSource(cols);
    const input = new Float32Array(this.#exports.memory.buffer, values, maxTokens * cols);
    for (let i = 0; i < input.length; i++) input[i] = uniform() - 0.5;
  }

  /** One product; what it computes stays in linear memory. */
  multiply(numTokens: number): void {
    const { matrix, values, workspace, out } = this.#addresses;
    const format = formatId(this.type);
    const failed = this.#exports.debug_matmul(format, this.rows, this.cols, matrix, values, numTokens, workspace, out);
    if (failed !== 0) throw new Error(`The kernels refuse ${this.rows}×${this.cols} ${this.type}: rule ${failed}.`);
  }

  /** The same random blocks again and again: speed does not depend on the values. */
  #pack(staging: number): void {
    const block = GGML_BLOCK[this.type];
    const numBlocks = (this.rows * this.cols) / block.elements;
    const stagedBlocks = Math.min(numBlocks, Math.floor(STAGING_BYTES / block.bytes));
    const bytes = randomBlocks(this.type, stagedBlocks * block.elements, 1 / Math.sqrt(this.cols), uniformSource(1));
    new Uint8Array(this.#exports.memory.buffer, staging, bytes.length).set(bytes);
    for (let first = 0; first < numBlocks; first += stagedBlocks) {
      const count = Math.min(stagedBlocks, numBlocks - first);
      const { matrix } = this.#addresses;
      const format = formatId(this.type);
      const failed = this.#exports.pack_blocks(format, this.rows, this.cols, matrix, first, staging, count);
      if (failed !== 0) throw new Error(`The packer refuses blocks ${first} to ${first + count} of ${this.type}.`);
    }
  }
}
