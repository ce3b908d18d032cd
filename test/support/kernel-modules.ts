/** The committed WASM modules, compiled, for tests and scripts that run in Node. A host in workerd imports them instead. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  KERNEL_SETS,
  type KernelModules,
  type KernelSet,
  supportsKernelSet,
} from "../../src/backends/cpu/kernel-set.ts";

/** RUNNEL_WASM_PKG names another build: `npm run check:wasm` tests a fresh one so. */
const PKG = process.env.RUNNEL_WASM_PKG ?? new URL("../../wasm/pkg/", import.meta.url).pathname;

/** Of the sets this host supports. @param folder another build than the committed one */
export function kernelModules(sets: readonly KernelSet[] = KERNEL_SETS, folder: string = PKG): KernelModules {
  const modules: KernelModules = {};
  for (const set of sets.filter(supportsKernelSet)) {
    modules[set] = compile(readFileSync(join(folder, `runnel_${set}.wasm`)));
  }
  return modules;
}

/** The types of workerd forbid what Node allows: compiling bytes. */
export function compile(bytes: Uint8Array): WebAssembly.Module {
  const Module = WebAssembly.Module as unknown as new (bytes: Uint8Array) => WebAssembly.Module;
  return new Module(bytes);
}
