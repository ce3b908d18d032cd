/**
 * Which of the three builds runs. Modules come compiled, because workerd forbids compiling bytes at run time; what the
 * host supports is asked by validating a tiny module that uses the feature.
 */

export type KernelSet = "relaxed" | "simd128" | "scalar";

/** Fastest first. */
export const KERNEL_SETS: readonly KernelSet[] = ["relaxed", "simd128", "scalar"];

/** Compiled modules by set; a host passes those it ships. */
export type KernelModules = Partial<Record<KernelSet, WebAssembly.Module>>;

/** `Backend.name` of each set. */
export const BACKEND_NAMES: Record<KernelSet, string> = {
  relaxed: "wasm-relaxed-simd",
  simd128: "wasm-simd128",
  scalar: "wasm-scalar",
};

/** A module with one function of type () → v128 and this body. */
function probe(body: readonly number[]): Uint8Array<ArrayBuffer> {
  const code = [1, body.length + 2, 0, ...body, 0x0b];
  return Uint8Array.from([
    ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, 5, 1, 0x60, 0, 1, 0x7b],
    ...[3, 2, 1, 0],
    ...[10, code.length, ...code],
  ]);
}

/** i32.const 0, i8x16.splat */
const SPLAT = [0x41, 0, 0xfd, 15];
const PROBES: Record<KernelSet, Uint8Array<ArrayBuffer> | null> = {
  // i16x8.relaxed_dot_i8x16_i7x16_s is opcode 0x112.
  relaxed: probe([...SPLAT, ...SPLAT, 0xfd, 0x92, 0x02]),
  simd128: probe(SPLAT),
  scalar: null,
};

/** Whether this host runs modules of the set. */
export function supportsKernelSet(set: KernelSet): boolean {
  const bytes = PROBES[set];
  if (bytes === null) return true;
  try {
    return WebAssembly.validate(bytes);
  } catch {
    // A host that forbids even validation compiled the module it was given, so it knows the feature.
    return true;
  }
}

/** @throws Error when the host supports none of the modules */
export function chooseKernelSet(
  modules: KernelModules,
  supports: (set: KernelSet) => boolean = supportsKernelSet,
): { set: KernelSet; module: WebAssembly.Module } {
  for (const set of KERNEL_SETS) {
    const module = modules[set];
    if (module !== undefined && supports(set)) return { set, module };
  }
  const given = Object.keys(modules).join(", ") || "none";
  throw new Error(
    `This host supports none of the WASM modules it was given (${given}). Ship the scalar module as well.`,
  );
}
