/**
 * The four builds of the engine. workerd compiles no WebAssembly at run time, so they are imported as modules; the
 * backend takes the fastest one that the host runs.
 */
import dot32 from "../../wasm/pkg/runnel_dot32.wasm";
import relaxed from "../../wasm/pkg/runnel_relaxed.wasm";
import scalar from "../../wasm/pkg/runnel_scalar.wasm";
import simd128 from "../../wasm/pkg/runnel_simd128.wasm";
import type { KernelModules } from "../backends/cpu/kernel-set.ts";

export const KERNELS: KernelModules = { dot32, relaxed, simd128, scalar };
