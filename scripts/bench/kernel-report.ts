/** What the measuring process of the kernels is asked for, and what it answers. */
import type { KernelSet } from "../../src/backends/cpu/kernel-set.ts";

export interface KernelJob {
  kernelSets: readonly KernelSet[];
  types: readonly string[];
  repeats: number;
  sampleMs: number;
}

export interface KernelReport {
  kernelSet: KernelSet;
  ceilings: Record<string, number[]>;
  types: Record<string, TypeReport>;
}

export interface TypeReport {
  bitsPerWeight: number;
  /** GMAC/s by number of tokens. */
  cached: Record<string, number[]>;
  streamed: Record<string, number[]>;
  streamedReadGbPerS: number[];
}

/** One token is decoding (GEMV); the others are a batch, a short and a full chunk of prefill. */
export const TOKEN_COUNTS = [1, 4, 16, 64] as const;

/** The names of the ceilings, with units. */
export const CEILINGS = {
  read1: "read, 1 stream (GB/s)",
  read4: "read, 4 streams (GB/s)",
  dotI32: "relaxed dot, 32-bit sums (GMAC/s)",
  dotI16: "relaxed dot, 16-bit sums (GMAC/s)",
  dotExact: "exact 16-bit dot (GMAC/s)",
} as const;
