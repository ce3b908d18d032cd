/** Loading tiny models and single kernels for the tests of this folder. */
import { CpuBackend } from "../../../src/backends/cpu/cpu-backend.ts";
import { type CpuExports, instantiateKernels, MODULE_BYTES, PAGE_BYTES } from "../../../src/backends/cpu/exports.ts";
import type { KernelSet } from "../../../src/backends/cpu/kernel-set.ts";
import type { CpuOptions } from "../../../src/backends/cpu/memory-plan.ts";
import { readGguf } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { specFromGguf } from "../../../src/model/spec-from-gguf.ts";
import { kernelModules } from "../../support/kernel-modules.ts";

export async function loadBytes(
  bytes: Uint8Array,
  set: KernelSet,
  options: CpuOptions = {},
  chunkBytes?: number,
): Promise<CpuBackend> {
  const source = memorySource(bytes, "tiny", chunkBytes);
  const file = await readGguf(source);
  const spec = specFromGguf(file.header, source.name);
  return CpuBackend.load({ modules: kernelModules([set]), ...file, spec, options });
}

/** An instance with room to lay out test buffers in, from `MODULE_BYTES` on. */
export function kernelsWithMemory(set: KernelSet, bytes: number): CpuExports {
  const exports = instantiateKernels(kernelModules([set])[set]!);
  exports.memory.grow(Math.ceil((MODULE_BYTES + bytes) / PAGE_BYTES));
  return exports;
}
