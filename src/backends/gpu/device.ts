/**
 * What the backend needs of a GPU, and nothing else of WebGPU: buffers, kernels bound to them, one submission for a step,
 * and reading back. Another way to a GPU would be another class with these methods.
 *
 * Bind groups are made once (10 to 20 µs each) and dispatched often (3 µs each); a pipeline is compiled once for each
 * kernel text. Errors that WebGPU reports later are kept and thrown by the next call.
 */
import type { Kernel } from "../../../kernels-gpu/kernel.ts";
import { type AdapterDescription, type AdapterOptions, type OpenAdapter, openAdapter } from "./adapter.ts";

/** A buffer, or a part of it that starts at a multiple of 256 bytes. */
export type BufferPart = GPUBuffer | { buffer: GPUBuffer; offset: number; size: number };

export interface BoundKernel {
  readonly label: string;
  readonly pipeline: GPUComputePipeline;
  readonly bindGroup: GPUBindGroup;
}

export interface Dispatch {
  kernel: BoundKernel;
  workgroups: readonly [x: number, y?: number, z?: number];
}

/** Values of GPUBufferUsage and GPUMapMode, which exist as globals in browsers only. */
const USAGE = { mapRead: 1, copySrc: 4, copyDst: 8, storage: 128, queryResolve: 512 };
const MAP_READ = 1;

/** Words that go to the GPU in one piece while a model loads: 64 MiB. */
const UPLOAD_WORDS = 1 << 24;

/** Taken where the adapter has them. */
const WANTED_FEATURES: GPUFeatureName[] = ["subgroups", "timestamp-query", "shader-f16"];
const SUBGROUP_MATRIX = "chromium-experimental-subgroup-matrix" as GPUFeatureName;

/** Kernels have up to 10 buffers; workgroup memory up to 32 KiB, of which WebGPU promises half. */
const WANTED_LIMITS: (keyof GPUSupportedLimits)[] = [
  "maxStorageBuffersPerShaderStage",
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
];

export class GpuDevice {
  readonly adapter: AdapterDescription;
  readonly limits: GPUSupportedLimits;
  /** Subgroup operations, with the number of the subgroup as WGSL's `subgroup_id`. */
  readonly hasSubgroups: boolean;
  readonly hasTimestamps: boolean;
  /** Arithmetic in f16; storage of halves needs nothing. */
  readonly hasShaderF16: boolean;
  /** Tiles of f16 multiplied by tensor cores with sums in f32. */
  readonly hasSubgroupMatrix: boolean;
  /** Threads of a subgroup, where the adapter has one size only; else null. */
  readonly subgroupSize: number | null;
  /** Resolves with the reason when the device is gone. */
  readonly lost: Promise<string>;
  readonly #device: GPUDevice;
  readonly #release: () => void;
  readonly #pipelines = new Map<string, Promise<GPUComputePipeline>>();
  #error: string | null = null;

  /** Use `GpuDevice.open`. */
  private constructor({ gpu, adapter, description, release }: OpenAdapter, device: GPUDevice) {
    this.adapter = description;
    this.limits = device.limits;
    this.hasSubgroups = device.features.has("subgroups") && gpu.wgslLanguageFeatures.has("subgroup_id");
    this.hasTimestamps = device.features.has("timestamp-query");
    this.hasShaderF16 = device.features.has("shader-f16");
    this.hasSubgroupMatrix = this.hasShaderF16 && hasF16Tiles(adapter) && device.features.has(SUBGROUP_MATRIX);
    const { subgroupMinSize, subgroupMaxSize } = adapter.info;
    this.subgroupSize = subgroupMinSize !== undefined && subgroupMinSize === subgroupMaxSize ? subgroupMinSize : null;
    this.lost = device.lost.then(({ reason, message }) => `${reason}: ${message}`);
    this.#device = device;
    this.#release = release;
    device.onuncapturederror = ({ error }) => {
      this.#error ??= error.message;
    };
  }

  /** @throws Error when there is no GPU; see `openAdapter` */
  static async open(options: AdapterOptions = {}): Promise<GpuDevice> {
    const open = await openAdapter(options);
    try {
      const { adapter } = open;
      const device = await adapter.requestDevice({
        requiredFeatures: [...WANTED_FEATURES, SUBGROUP_MATRIX].filter((feature) => adapter.features.has(feature)),
        requiredLimits: Object.fromEntries(WANTED_LIMITS.map((name) => [name, adapter.limits[name] as number])),
      });
      return new GpuDevice(open, device);
    } catch (error) {
      open.release();
      throw error;
    }
  }

  /** Zeros. @throws Error beyond what the adapter allows for one binding */
  buffer(label: string, bytes: number): GPUBuffer {
    const size = Math.max(16, Math.ceil(bytes / 16) * 16);
    const most = Math.min(this.limits.maxBufferSize, this.limits.maxStorageBufferBindingSize);
    if (size > most) throw new Error(`The buffer "${label}" needs ${size} bytes; this GPU binds at most ${most}.`);
    return this.#device.createBuffer({ label, size, usage: USAGE.storage | USAGE.copySrc | USAGE.copyDst });
  }

  /** A buffer that holds `data`. */
  bufferOf(label: string, data: ArrayBufferView): GPUBuffer {
    const buffer = this.buffer(label, data.byteLength);
    this.upload(buffer, data);
    return buffer;
  }

  /** Ordered with submissions: what was submitted before still reads the old content. `offset` and length: multiples of 4. */
  upload(buffer: GPUBuffer, data: ArrayBufferView, offset = 0): void {
    this.#device.queue.writeBuffer(buffer, offset, data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  }

  /** For weights: waits now and then, so that copies on the way to the GPU do not pile up in memory. */
  async uploadLarge(buffer: GPUBuffer, data: Uint32Array): Promise<void> {
    for (let at = 0; at < data.length; at += UPLOAD_WORDS) {
      this.upload(buffer, data.subarray(at, at + UPLOAD_WORDS), at * 4);
      if (data.length > UPLOAD_WORDS) await this.#device.queue.onSubmittedWorkDone();
    }
  }

  /** Waits for everything submitted so far. @returns a copy of `bytes` bytes from `offset` on */
  async download(buffer: GPUBuffer, bytes = buffer.size, offset = 0): Promise<ArrayBuffer> {
    const size = Math.ceil(bytes / 4) * 4;
    const staging = this.#device.createBuffer({ size, usage: USAGE.mapRead | USAGE.copyDst });
    const encoder = this.#device.createCommandEncoder();
    encoder.copyBufferToBuffer(buffer, offset, staging, 0, size);
    this.#device.queue.submit([encoder.finish()]);
    await staging.mapAsync(MAP_READ);
    const copy = staging.getMappedRange().slice(0, bytes);
    staging.destroy();
    this.#throwError();
    return copy;
  }

  /** Compiles the kernel, or finds it compiled. @throws Error with the compiler's message */
  async bind<Name extends string>(kernel: Kernel<Name>, parts: Record<Name, BufferPart>): Promise<BoundKernel> {
    const compiled = this.#pipelines.get(kernel.wgsl) ?? this.#compile(kernel);
    this.#pipelines.set(kernel.wgsl, compiled);
    const pipeline = await compiled;
    const entries = (Object.keys(kernel.bindings) as Name[]).map((name, binding) => {
      const part: BufferPart = parts[name];
      return { binding, resource: "buffer" in part ? part : { buffer: part } };
    });
    const bindGroup = this.#device.createBindGroup({
      label: kernel.name,
      layout: pipeline.getBindGroupLayout(0),
      entries,
    });
    this.#throwError();
    return { label: kernel.name, pipeline, bindGroup };
  }

  /** One command buffer with one pass: a kernel sees all that the ones before it wrote. */
  submit(dispatches: readonly Dispatch[]): void {
    this.#throwError();
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    this.#record(pass, dispatches);
    pass.end();
    this.#device.queue.submit([encoder.finish()]);
  }

  /** Runs `dispatches` in one pass and measures it on the GPU. @returns nanoseconds @throws Error without timestamps */
  async measure(dispatches: readonly Dispatch[]): Promise<number> {
    if (!this.hasTimestamps) throw new Error("This GPU has no timestamps; kernels cannot be timed on it.");
    const querySet = this.#device.createQuerySet({ type: "timestamp", count: 2 });
    const resolved = this.#device.createBuffer({ size: 16, usage: USAGE.queryResolve | USAGE.copySrc });
    const encoder = this.#device.createCommandEncoder();
    const pass = encoder.beginComputePass({
      timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 },
    });
    this.#record(pass, dispatches);
    pass.end();
    encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
    this.#device.queue.submit([encoder.finish()]);
    const [begin, end] = new BigUint64Array(await this.download(resolved, 16));
    querySet.destroy();
    resolved.destroy();
    return Number(end! - begin!);
  }

  /** Nothing may be called afterwards. */
  destroy(): void {
    this.#device.destroy();
    this.#release();
  }

  #record(pass: GPUComputePassEncoder, dispatches: readonly Dispatch[]): void {
    let pipeline: GPUComputePipeline | null = null;
    for (const { kernel, workgroups } of dispatches) {
      if (kernel.pipeline !== pipeline) pass.setPipeline(kernel.pipeline);
      pipeline = kernel.pipeline;
      pass.setBindGroup(0, kernel.bindGroup);
      pass.dispatchWorkgroups(...workgroups);
    }
  }

  async #compile({ name, wgsl, bindings }: Kernel): Promise<GPUComputePipeline> {
    const bindGroupLayout = this.#device.createBindGroupLayout({
      entries: Object.values(bindings).map(({ access }, binding) => ({
        binding,
        visibility: 4,
        buffer: { type: access === "read" ? "read-only-storage" : "storage" },
      })),
    });
    const layout = this.#device.createPipelineLayout({ bindGroupLayouts: [bindGroupLayout] });
    const module = this.#device.createShaderModule({ label: name, code: wgsl });
    try {
      return await this.#device.createComputePipelineAsync({
        label: name,
        layout,
        compute: { module, entryPoint: "main" },
      });
    } catch (cause) {
      const { messages } = await module.getCompilationInfo();
      const text = messages.map(({ lineNum, message }) => `line ${lineNum}: ${message}`).join("; ");
      this.#error = null;
      throw new Error(
        `The kernel "${name}" does not compile on ${this.adapter.description}: ${text || String(cause)}`,
        { cause },
      );
    }
  }

  #throwError(): void {
    if (this.#error === null) return;
    const message = this.#error;
    this.#error = null;
    throw new Error(`The GPU refused an earlier call: ${message}`);
  }
}

interface SubgroupMatrixConfig {
  componentType: string;
  resultComponentType: string;
  M: number;
  N: number;
  K: number;
}

function hasF16Tiles({ info }: GPUAdapter): boolean {
  const { subgroupMatrixConfigs = [] } = info as GPUAdapterInfo & { subgroupMatrixConfigs?: SubgroupMatrixConfig[] };
  return [...subgroupMatrixConfigs].some(
    ({ componentType, resultComponentType, M, N, K }) =>
      componentType === "f16" && resultComponentType === "f32" && M === 16 && N === 16 && K === 16,
  );
}
