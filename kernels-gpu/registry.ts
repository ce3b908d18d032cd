/**
 * All kernels by name, each as the function that specialises it. The names of a kernel's buffers are part of its type:
 * `BindingOf<"norm">`, and `GpuDevice.bind` takes exactly those.
 */
import { activate } from "./activation/activate.ts";
import { decodeAttention } from "./attention/decode.ts";
import { mergeAttention } from "./attention/merge.ts";
import { prefillAttention } from "./attention/prefill.ts";
import { ropeKv } from "./attention/rope-kv.ts";
import { copyBlocks } from "./copy/copy-blocks.ts";
import { embedding } from "./embedding/embedding.ts";
import type { Kernel } from "./kernel.ts";
import { loraExpand } from "./lora/expand.ts";
import { loraShrink } from "./lora/shrink.ts";
import { gemm } from "./matmul/gemm.ts";
import { gemmMatrix } from "./matmul/gemm-matrix.ts";
import { gemv } from "./matmul/gemv.ts";
import { norm } from "./norm/norm.ts";
import { adjust, candidates } from "./sampling/adjust.ts";
import { logprobs } from "./sampling/logprobs.ts";
import { sample } from "./sampling/sample.ts";

/** In the order of a step. */
export const KERNELS = {
  copyBlocks,
  embedding,
  norm,
  gemv,
  gemm,
  gemmMatrix,
  loraShrink,
  loraExpand,
  activate,
  ropeKv,
  decodeAttention,
  mergeAttention,
  prefillAttention,
  candidates,
  adjust,
  sample,
  logprobs,
} as const;

export type KernelName = keyof typeof KERNELS;

export type BindingOf<Name extends KernelName> =
  ReturnType<(typeof KERNELS)[Name]> extends Kernel<infer Binding> ? Binding : never;
