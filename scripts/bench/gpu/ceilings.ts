/**
 * What the card can do at most, as far as WGSL can ask for it: memory read in one stream, and multiply-adds that need
 * nothing but registers: f32, f16, and tiles on tensor cores.
 */
import { type BenchCase, benchCase, copyCase } from "../../../kernels-gpu/bench/case.ts";
import { defineKernel, type Kernel, read, readWrite, repeat } from "../../../kernels-gpu/kernel.ts";
import type { GpuDevice } from "../../../src/backends/gpu/device.ts";

export interface CeilingSizes {
  /** Beyond every cache. */
  readBytes: number;
  workgroups: number;
  /** Of the loop of multiply-adds. */
  rounds: number;
}

export const GPU_CEILINGS: CeilingSizes = { readBytes: 2 ** 31, workgroups: 132 * 32, rounds: 2048 };
export const SOFTWARE_CEILINGS: CeilingSizes = { readBytes: 2 ** 20, workgroups: 2, rounds: 16 };

const THREADS = 256;
/** Loads in flight of a thread, and sums that do not wait for each other. */
const UNROLL = 4;
const CHAINS = 8;

export type CeilingCase = () => Promise<BenchCase>;

/** By name; those that the device cannot run are not there. */
export function ceilingCases(device: GpuDevice, sizes: CeilingSizes): Record<string, CeilingCase> {
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  const block = THREADS * UNROLL * 16;
  const most = Math.min(sizes.readBytes, maxBufferSize, maxStorageBufferBindingSize);
  const bytes = Math.floor(most / block) * block;
  const flops = (perThread: number) => sizes.workgroups * THREADS * sizes.rounds * perThread;
  const values = { factors: new Float32Array([0.999, 0.001, 0, 0]), sums: 16 };
  const compute = (kernel: Kernel<"factors" | "sums">, perThread: number) => () =>
    benchCase(device, kernel, values, [sizes.workgroups], { bytes: 16, flops: flops(perThread) });
  const cases: Record<string, CeilingCase> = {
    read: () => readCase(device, bytes, sizes.workgroups),
    copy: () => copyCase(device, Math.floor(bytes / 4 / block) * block),
    f32: compute(fmaKernel("f32", sizes.rounds), 2 * 4 * CHAINS),
  };
  if (device.hasShaderF16) cases.f16 = compute(fmaKernel("f16", sizes.rounds), 2 * 4 * CHAINS);
  if (device.hasSubgroupMatrix) {
    const subgroupSize = device.subgroupSize ?? 32;
    cases.f16Tiles = compute(tileKernel(sizes.rounds, subgroupSize), (2 * 16 ** 3 * TILE_CHAINS) / subgroupSize);
  }
  return cases;
}

/** Each thread reads 16 bytes, then those a whole grid further on. A sum that nobody expects keeps the compiler from skipping them. */
function readCase(device: GpuDevice, bytes: number, workgroups: number): Promise<BenchCase> {
  const units = bytes / 16;
  const groups = Math.min(workgroups, units / (THREADS * UNROLL));
  const stride = groups * THREADS;
  const kernel = defineKernel({
    name: "read",
    bindings: { from_memory: read("array<vec4<u32>>"), sums: readWrite("array<u32>") },
    body: /* wgsl */ `
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  var sum = vec4<u32>();
  for (var i = id.x; i < ${units}u; i += ${stride * UNROLL}u) {
    ${repeat("k", UNROLL, `if (i + k * ${stride}u < ${units}u) { sum ^= from_memory[i + k * ${stride}u]; }`)}
  }
  if (all(sum == vec4<u32>(1u, 2u, 3u, 4u))) { sums[0] = 1u; }
}`,
  });
  return benchCase(device, kernel, { from_memory: bytes, sums: 16 }, [groups], { bytes });
}

/** Chains of fma on vectors of four; factors come from memory, so that nothing can be computed beforehand. */
export function fmaKernel(type: "f32" | "f16", rounds: number): Kernel<"factors" | "sums"> {
  const chains = Array.from({ length: CHAINS }, (_, i) => i);
  return defineKernel({
    name: `fma ${type}`,
    ...(type === "f16" && { directives: "enable f16;" }),
    bindings: { factors: read("array<vec4<f32>>"), sums: readWrite("array<f32>") },
    body: /* wgsl */ `
@compute @workgroup_size(${THREADS})
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  let factor = vec4<${type}>(${type}(factors[0].x));
  let term = vec4<${type}>(${type}(factors[0].y));
  ${chains.map((i) => `var sum_${i} = vec4<${type}>(${type}(id.x & 7u) + ${type}(${i}.0));`).join("\n  ")}
  for (var round = 0u; round < ${rounds}u; round++) {
    ${chains.map((i) => `sum_${i} = fma(sum_${i}, factor, term);`).join("\n    ")}
  }
  let sum = ${chains.map((i) => `sum_${i}`).join(" + ")};
  if (f32(sum.x + sum.y + sum.z + sum.w) == 12345.0) { sums[0] = 1.0; }
}`,
  });
}

/** Products of a subgroup that do not wait for each other. */
const TILE_CHAINS = 4;

/** 16 × 16 × 16 tiles of f16 with sums in f32, loaded once and multiplied over and over. */
export function tileKernel(rounds: number, subgroupSize: number): Kernel<"factors" | "sums"> {
  const chains = Array.from({ length: TILE_CHAINS }, (_, i) => i);
  const numSubgroups = THREADS / subgroupSize;
  return defineKernel({
    name: "tiles f16",
    directives: `enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;
diagnostic(off, chromium.subgroup_matrix_uniformity);`,
    bindings: { factors: read("array<vec4<f32>>"), sums: readWrite("array<f32>") },
    body: /* wgsl */ `
var<workgroup> tile: array<f16, 512>;
var<workgroup> results: array<f32, ${256 * numSubgroups}>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(local_invocation_index) index: u32, @builtin(subgroup_id) subgroup: u32) {
  tile[index] = f16(factors[0].y) * f16(index & 15u);
  tile[index + 256u] = f16(factors[0].y) * f16(index & 7u);
  workgroupBarrier();
  let left = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile, 0u, 16u);
  ${chains.map((i) => `let right_${i} = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile, ${16 * (i + 1)}u, 16u);`).join("\n  ")}
  ${chains.map((i) => `var sum_${i}: subgroup_matrix_result<f32, 16, 16>;`).join("\n  ")}
  for (var round = 0u; round < ${rounds}u; round++) {
    ${chains.map((i) => `sum_${i} = subgroupMatrixMultiplyAccumulate(left, right_${i}, sum_${i});`).join("\n    ")}
  }
  ${chains.map((i) => `subgroupMatrixStore<row_major>(&results, subgroup * 256u, sum_${i}, 16u); workgroupBarrier(); if (results[index] == 12345.0) { sums[0] = 1.0; } workgroupBarrier();`).join("\n  ")}
}`,
  });
}
