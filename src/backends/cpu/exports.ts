/**
 * What a kernel module exports, as `wasm/src/abi.rs` defines it. Numbers only; addresses are bytes in linear memory.
 */
import { GGML_TYPE, type GgmlTypeName } from "../../model/gguf.ts";

/** Of `wasm/src/config.rs`; a module of another version is refused. */
export const ABI_VERSION = 4;

/**
 * Linear memory below this belongs to the module: its stack (128 KiB, see `scripts/build-wasm.mjs`) and constants. The
 * host's regions begin here; `heap_base` is checked against it.
 */
export const MODULE_BYTES = 256 * 1024;

/** Bytes of a WebAssembly page. */
export const PAGE_BYTES = 65_536;

export interface CpuExports {
  memory: WebAssembly.Memory;
  /** Addresses of the words in `cpu-signal.ts`. */
  __instance_signal: WebAssembly.Global;
  __instance_terminated: WebAssembly.Global;
  heap_base(): number;
  abi_version(): number;
  packed_bytes(format: number, rows: number, cols: number): number;
  scratch_bytes(model: number): number;
  kv_block_bytes(model: number): number;
  check_model(model: number): number;
  pack_blocks(
    format: number,
    rows: number,
    cols: number,
    packed: number,
    firstBlock: number,
    source: number,
    numBlocks: number,
  ): number;
  step(model: number): number;
  logits_address(model: number): number;
  normed_address(model: number): number;
  debug_matmul(
    format: number,
    rows: number,
    cols: number,
    packed: number,
    values: number,
    numTokens: number,
    workspace: number,
    out: number,
  ): number;
  debug_read_row(format: number, rows: number, cols: number, packed: number, row: number, out: number): number;
  debug_write_kv(model: number, block: number, layer: number, slot: number, k: number, v: number): number;
  debug_attend(
    model: number,
    layer: number,
    table: number,
    tableLength: number,
    firstPosition: number,
    numTokens: number,
    window: number,
    queries: number,
  ): number;
  debug_trap(): void;
}

/** @throws Error when the module is no kernel module of this version */
export function instantiateKernels(module: WebAssembly.Module): CpuExports {
  const exports = new WebAssembly.Instance(module, {}).exports as unknown as CpuExports;
  const version = typeof exports.abi_version === "function" ? exports.abi_version() : null;
  if (version !== ABI_VERSION) {
    throw new Error(
      `The WASM module has ABI version ${version}, the host expects ${ABI_VERSION}. Rebuild it: npm run build:wasm.`,
    );
  }
  if (exports.heap_base() > MODULE_BYTES) {
    throw new Error(`The WASM module keeps ${exports.heap_base()} bytes for itself, more than ${MODULE_BYTES}.`);
  }
  return exports;
}

/**
 * Bytes of a packed group of 4 rows: of what it begins with, and for each block of the type; `Format::layout` of
 * `wasm/src/block_format.rs`.
 */
const GROUP_BYTES: Record<GgmlTypeName, readonly [header: number, block: number]> = {
  F32: [0, 16],
  F16: [0, 8],
  BF16: [0, 8],
  Q4_0: [16, 72],
  Q4_1: [32, 80],
  Q5_0: [16, 88],
  Q5_1: [32, 96],
  Q8_0: [16, 144],
  Q2_K: [0, 336],
  Q3_K: [0, 456],
  Q4_K: [0, 592],
  Q5_K: [0, 720],
  Q6_K: [0, 840],
  IQ4_NL: [16, 72],
  IQ4_XS: [0, 552],
};

/** Bytes of a packed [rows, cols] matrix; cols is a whole number of blocks of `blockElements`. */
export function packedBytes(type: GgmlTypeName, rows: number, cols: number, blockElements: number): number {
  const [header, block] = GROUP_BYTES[type];
  return Math.ceil(rows / 4) * (header + (cols / blockElements) * block);
}

export function formatId(type: GgmlTypeName): number {
  return GGML_TYPE[type];
}
