/**
 * The Backend on WebAssembly: one linear memory for each model, laid out before loading, and one call per step. Runs
 * wherever WebAssembly does (workerd, Node, a browser); what the host offers is chosen in `kernel-set.ts`.
 */
import type { GgufHeader } from "../../model/gguf.ts";
import type { GgufData } from "../../model/gguf-reader.ts";
import type { ModelSpec } from "../../model/model-spec.ts";
import {
  type Backend,
  BackendCrash,
  type BackendLimits,
  type RowResult,
  type StepBatch,
  type StepResult,
} from "../../serving/backend.ts";
import { validateBatch } from "../../serving/validate-batch.ts";
import { CpuSignal } from "./cpu-signal.ts";
import { type CpuExports, instantiateKernels, PAGE_BYTES } from "./exports.ts";
import { BACKEND_NAMES, chooseKernelSet, type KernelModules, type KernelSet } from "./kernel-set.ts";
import { type CpuMemoryPlan, type CpuOptions, planCpuMemory } from "./memory-plan.ts";
import { writeDescriptor } from "./model-descriptor.ts";
import { StepCodec, splitIntoCalls } from "./step-encoding.ts";
import { type LoadProgress, loadWeights } from "./weight-loader.ts";

export interface CpuLoadArguments {
  modules: KernelModules;
  /** From `readGguf` and `specFromGguf`; the data is read to its end. */
  header: GgufHeader;
  data: GgufData;
  spec: ModelSpec;
  options?: CpuOptions;
  onProgress?: (progress: LoadProgress) => void;
}

/**
 * `docs/benchmarks/engine.json`, sequences decoding together, in Node and workerd alike: 0.76 to 0.80 for a model in the
 * cache and one in RAM, because one token already keeps the vector units busy. So only text that is nearly certain to
 * repeat is drafted.
 */
const ROW_COST = 0.78;

export class CpuBackend implements Backend {
  readonly name: string;
  readonly kernelSet: KernelSet;
  readonly limits: BackendLimits;
  readonly memory: { weightsBytes: number; kvBytes: number; scratchBytes: number };
  readonly rowCost = ROW_COST;
  readonly plan: CpuMemoryPlan;
  readonly #vocabStride: number;
  readonly #width: number;
  #exports: CpuExports | null;
  #codec: StepCodec | null;
  #signal: CpuSignal | null;
  #crash: BackendCrash | null = null;

  /** Use `CpuBackend.load`. */
  private constructor(set: KernelSet, exports: CpuExports, spec: ModelSpec, plan: CpuMemoryPlan) {
    const { blockTokens, numBlocks, contextLength, maxBatchTokens, maxBatchSequences, addresses } = plan;
    this.name = BACKEND_NAMES[set];
    this.kernelSet = set;
    this.limits = {
      vocabSize: spec.vocabSize,
      contextLength,
      blockTokens,
      numBlocks,
      maxBatchTokens,
      maxBatchSequences,
      numAdapters: 0,
    };
    this.memory = { weightsBytes: plan.weightsBytes, kvBytes: plan.kvBytes, scratchBytes: plan.scratchBytes };
    this.plan = plan;
    this.#vocabStride = Math.ceil(spec.vocabSize / 4) * 4;
    this.#width = spec.dModel;
    this.#exports = exports;
    this.#signal = new CpuSignal(exports);
    this.#codec = new StepCodec(
      exports.memory.buffer as ArrayBuffer,
      { address: addresses.step, words: plan.stepWords },
      { address: addresses.results, rows: plan.maxLogitRows },
    );
  }

  /**
   * @throws ModelError `over_budget`, `unsupported_architecture`, or what the source throws while it streams
   * @throws Error when the host supports none of the modules or has no memory left
   */
  static async load({ modules, header, data, spec, options, onProgress }: CpuLoadArguments): Promise<CpuBackend> {
    try {
      const plan = planCpuMemory(spec, options);
      const { set, module } = chooseKernelSet(modules);
      const exports = instantiateKernels(module);
      allocate(exports, plan);
      writeDescriptor(exports.memory.buffer as ArrayBuffer, spec, plan);
      checkPlan(exports, plan);
      await loadWeights(exports, spec, plan, { header, data }, onProgress);
      return new CpuBackend(set, exports, spec, plan);
    } catch (error) {
      await data.cancel();
      throw error;
    }
  }

  step(batch: StepBatch): StepResult {
    const { exports, codec } = this.#live();
    validateBatch(batch, this.limits);
    const rows: RowResult[] = [];
    for (const call of splitIntoCalls(batch, this.plan.maxLogitRows)) {
      const slots = codec.encode(call, this.limits.blockTokens);
      this.#run(exports);
      call.outputs.forEach(({ output }, i) => {
        const result = codec.decode(i, output);
        if (output.wantLogits) result.logits = this.#copyLogits(exports, slots[i]!);
        if (output.wantEmbedding) result.embedding = this.#copyNormed(exports, slots[i]!);
        rows.push(result);
      });
    }
    return { rows };
  }

  readBlock(block: number): Uint8Array<ArrayBuffer> {
    return this.#blockBytes(block).slice();
  }

  writeBlock(block: number, bytes: Uint8Array): void {
    const target = this.#blockBytes(block);
    if (bytes.length !== target.length) {
      throw new RangeError(`A KV block has ${target.length} bytes, got ${bytes.length} for block ${block}.`);
    }
    target.set(bytes);
  }

  /** Whether the runtime has said since the last call that the CPU time of the running invocation is nearly used up. */
  takeCpuSignal(): boolean {
    return this.#signal?.take() ?? false;
  }

  dispose(): void {
    this.#signal?.close();
    this.#signal = null;
    this.#exports = null;
    this.#codec = null;
  }

  /** Traps inside WASM as a bug would. For fault tests. @throws BackendCrash */
  crashForTest(): never {
    this.#guard(() => this.#exports?.debug_trap());
    throw new Error("The backend was disposed of; there is nothing to crash.");
  }

  #live(): { exports: CpuExports; codec: StepCodec } {
    if (this.#crash !== null) throw this.#crash;
    if (this.#exports !== null && this.#codec !== null) return { exports: this.#exports, codec: this.#codec };
    throw new Error("The backend was disposed of; load the model again.");
  }

  /** A block lies in one piece (`wasm/src/kv_pool.rs`). */
  #blockBytes(block: number): Uint8Array<ArrayBuffer> {
    const { exports } = this.#live();
    const { numBlocks, blockBytes, addresses } = this.plan;
    if (!Number.isInteger(block) || block < 0 || block >= numBlocks) {
      throw new RangeError(`KV block ${block} does not exist: the pool has blocks 0 to ${numBlocks - 1}.`);
    }
    return new Uint8Array(exports.memory.buffer as ArrayBuffer, addresses.kv + block * blockBytes, blockBytes);
  }

  #run(exports: CpuExports): void {
    const rule = this.#guard(() => exports.step(this.plan.addresses.model));
    if (rule !== 0) throw new Error(`The kernels refused the batch by rule ${rule} (see wasm/README.md).`);
  }

  /** A trap leaves memory in any state: from then on the backend only says so. */
  #guard<T>(call: () => T): T {
    try {
      return call();
    } catch (cause) {
      this.#crash = new BackendCrash(`The WASM engine crashed: ${String(cause)}. Build the backend anew.`, { cause });
      this.dispose();
      throw this.#crash;
    }
  }

  #copyNormed(exports: CpuExports, slot: number): Float32Array {
    const address = exports.normed_address(this.plan.addresses.model) + slot * this.#width * 4;
    return new Float32Array(exports.memory.buffer, address, this.#width).slice();
  }

  #copyLogits(exports: CpuExports, slot: number): Float32Array {
    const address = exports.logits_address(this.plan.addresses.model) + slot * this.#vocabStride * 4;
    return new Float32Array(exports.memory.buffer, address, this.limits.vocabSize).slice();
  }
}

function allocate({ memory }: CpuExports, plan: CpuMemoryPlan): void {
  const missingPages = Math.ceil((plan.totalBytes - memory.buffer.byteLength) / PAGE_BYTES);
  if (missingPages <= 0) return;
  try {
    memory.grow(missingPages);
  } catch (cause) {
    throw new Error(`The host gave no memory for the model: ${plan.totalBytes} bytes were asked for.`, { cause });
  }
}

/** The kernels' own arithmetic must agree with the plan. A difference is a bug in one of the two. */
function checkPlan(exports: CpuExports, { addresses, blockBytes, scratchRegionBytes }: CpuMemoryPlan): void {
  const rule = exports.check_model(addresses.model);
  const sizes = [exports.kv_block_bytes(addresses.model), exports.scratch_bytes(addresses.model)];
  if (rule !== 0 || sizes[0] !== blockBytes || sizes[1] !== scratchRegionBytes) {
    throw new Error(
      `The memory plan and the kernels disagree: rule ${rule}, KV block ${blockBytes} / ${sizes[0]} bytes, scratch ` +
        `${scratchRegionBytes} / ${sizes[1]} bytes.`,
    );
  }
}
