/**
 * Which of the four builds runs. Modules come compiled, because workerd forbids compiling bytes at run time; what the
 * host supports is asked by validating a tiny module that uses the feature. Of the two relaxed builds the results tell
 * which suits the processor, not the clock, which stands still in a Worker while it computes.
 */

/** Both relaxed sets use the 8-bit relaxed dots: "relaxed" those of 16 bits, "dot32" those that add into 32 bits. */
export type KernelSet = "dot32" | "relaxed" | "simd128" | "scalar";

/** Fastest first, where the processor has what the set is for. */
export const KERNEL_SETS: readonly KernelSet[] = ["dot32", "relaxed", "simd128", "scalar"];

/** Compiled modules by set; a host passes those it ships. */
export type KernelModules = Partial<Record<KernelSet, WebAssembly.Module>>;

/** `Backend.name` of each set. */
export const BACKEND_NAMES: Record<KernelSet, string> = {
  dot32: "wasm-relaxed-simd-dot32",
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
/** i16x8.relaxed_dot_i8x16_i7x16_s, opcode 0x112. */
const RELAXED_DOT = probe([...SPLAT, ...SPLAT, 0xfd, 0x92, 0x02]);
const PROBES: Record<KernelSet, Uint8Array<ArrayBuffer> | null> = {
  dot32: RELAXED_DOT,
  relaxed: RELAXED_DOT,
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

/**
 * Four products of 127 and byte 255 in 32 bits, where byte 255 is beyond what the specification fixes: 129 540 by
 * AVX-VNNI, whose second operand is unsigned; −508 where it is signed (Arm, AVX-VNNI-INT8); 65 534 where pairs saturate in
 * 16 bits, that is where the dot is put together from five instructions (V8's macro-assembler-shared-ia32-x64.cc).
 */
const SATURATED = 65_534;

/** Whether the 32-bit dot is one instruction here. @param module of the set "dot32" */
export function hasSingleDot32(module: WebAssembly.Module): boolean {
  const { probe_dot32: probeDot32 } = new WebAssembly.Instance(module, {}).exports as { probe_dot32(): number };
  return probeDot32() !== SATURATED;
}

/** @throws Error when the host supports none of the modules */
export function chooseKernelSet(
  modules: KernelModules,
  supports: (set: KernelSet) => boolean = supportsKernelSet,
  isFast: (module: WebAssembly.Module) => boolean = hasSingleDot32,
): { set: KernelSet; module: WebAssembly.Module } {
  const given = KERNEL_SETS.filter((set) => modules[set] !== undefined);
  const possible = given.filter(supports);
  for (const set of possible) {
    const module = modules[set]!;
    if (set === "dot32" && possible.includes("relaxed") && !isFast(module)) continue;
    return { set, module };
  }
  throw new Error(
    `This host supports none of the WASM modules it was given (${given.join(", ") || "none"}). ` +
      "Ship the scalar module as well.",
  );
}
