/** What the kernel benchmark runs: a kernel with its buffers, and what it has to move and compute at the least. */
import type { BoundKernel, GpuDevice } from "../../src/backends/gpu/device.ts";
import { defineKernel, type Kernel, read, readWrite } from "../kernel.ts";

export interface BenchCase {
  name: string;
  /** Each byte that must come from or go to memory, once. */
  bytes: number;
  /** Multiplications and additions; 0 where only memory counts. */
  flops: number;
  kernel: BoundKernel;
  workgroups: readonly [number, number?, number?];
  buffers: GPUBuffer[];
}

/** Sizes of an 8B model's layer on a GPU, of something that ends on a CPU. */
export interface BenchSizes {
  dModel: number;
  ffnDim: number;
  vocabSize: number;
  numHeads: number;
  numKvHeads: number;
  headDim: number;
  /** Keys of each sequence in attention. */
  contextTokens: number;
  sequences: number;
  promptTokens: number;
  copyBytes: number;
}

export const GPU_SIZES: BenchSizes = {
  dModel: 4096,
  ffnDim: 14_336,
  vocabSize: 128_256,
  numHeads: 32,
  numKvHeads: 8,
  headDim: 128,
  contextTokens: 8192,
  sequences: 8,
  promptTokens: 1024,
  copyBytes: 1 << 29,
};

export const SOFTWARE_SIZES: BenchSizes = {
  dModel: 256,
  ffnDim: 512,
  vocabSize: 4096,
  numHeads: 4,
  numKvHeads: 2,
  headDim: 64,
  contextTokens: 512,
  sequences: 2,
  promptTokens: 64,
  copyBytes: 1 << 22,
};

type Content = number | ArrayBufferView;

/** Buffers by their bytes, filled with noise, or by their content. */
export async function benchCase<Name extends string>(
  device: GpuDevice,
  kernel: Kernel<Name>,
  contents: Record<Name, Content>,
  workgroups: readonly [number, number?, number?],
  work: { bytes: number; flops?: number },
): Promise<BenchCase> {
  const names = Object.keys(contents) as Name[];
  const buffers = Object.fromEntries(names.map((name) => [name, makeBuffer(device, name, contents[name])])) as Record<
    Name,
    GPUBuffer
  >;
  const bound = await device.bind(kernel, buffers);
  return {
    name: kernel.name,
    bytes: work.bytes,
    flops: work.flops ?? 0,
    kernel: bound,
    workgroups,
    buffers: names.map((name) => buffers[name]),
  };
}

/** Memory of nothing but zeros draws less power than any real one. Halves of this noise are small and finite. */
const NOISE = Uint32Array.from({ length: 1 << 18 }, (_, i) => Math.imul(i + 1, 0x9e3779b9) & 0x2fff2fff);

function makeBuffer(device: GpuDevice, label: string, content: Content): GPUBuffer {
  if (typeof content !== "number") return device.bufferOf(label, content);
  const buffer = device.buffer(label, content);
  for (let at = 0; at < buffer.size; at += NOISE.byteLength) {
    device.upload(buffer, NOISE.subarray(0, Math.min(NOISE.byteLength, buffer.size - at) / 4), at);
  }
  return buffer;
}

/** Copies `bytes` bytes: what the memory can do, the ceiling that every kernel is compared with. */
export function copyCase(device: GpuDevice, bytes: number): Promise<BenchCase> {
  const units = bytes / 16;
  const groups = Math.min(units / 256, 65_535);
  const kernel = defineKernel({
    name: "copy",
    bindings: { from_memory: read("array<vec4<u32>>"), to_memory: readWrite("array<vec4<u32>>") },
    body: /* wgsl */ `
@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  for (var i = id.x; i < ${units}u; i += ${groups * 256}u) { to_memory[i] = from_memory[i]; }
}`,
  });
  return benchCase(device, kernel, { from_memory: bytes, to_memory: bytes }, [groups], { bytes: 2 * bytes });
}
