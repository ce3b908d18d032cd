/**
 * The Backend on a GPU. A step is one upload and one submission, from token ids to sampled tokens; only those, and what
 * else was asked for, come back. (More outputs than there is room for take further turns of the head.)
 */

import { kvBlockBytes, scaleBlockBytes } from "../../../kernels-gpu/attention/kv-layout.ts";
import { prefillTokens } from "../../../kernels-gpu/attention/prefill.ts";
import { ropeTable } from "../../../kernels-gpu/attention/rope-kv.ts";
import { copyBlocks, copyWorkgroups, planCopies } from "../../../kernels-gpu/copy/copy-blocks.ts";
import type { GgufHeader } from "../../model/gguf.ts";
import type { GgufData } from "../../model/gguf-reader.ts";
import type { ModelSpec, RopeSpec } from "../../model/model-spec.ts";
import {
  type Backend,
  BackendCrash,
  type BackendLimits,
  type BlockCopy,
  type RowResult,
  type StepBatch,
  type StepResult,
} from "../../serving/backend.ts";
import { validateBatch } from "../../serving/validate-batch.ts";
import type { AdapterDescription } from "./adapter.ts";
import { type Arena, makeArena } from "./arena.ts";
import type { BoundKernel, Dispatch, GpuDevice } from "./device.ts";
import { encodeBody, encodeHead } from "./encode-step.ts";
import { Forward } from "./forward.ts";
import { GpuLoras, type LoraContext } from "./lora.ts";
import { type LoraContent, type LoraFile, readLora } from "./lora-weights.ts";
import { type GpuOptions, type GpuPlan, layOutStep, planGpu } from "./options.ts";
import { GpuSampler } from "./sampler.ts";
import { StepBuffer } from "./step-buffer.ts";
import { type MatrixFiller, WeightLoader } from "./weights.ts";

export interface GpuLoadArguments {
  /** Owned by the backend from then on. */
  device: GpuDevice;
  /** From `readGguf` and `specFromGguf`; the data is read to its end. A function makes weights up instead. */
  header: GgufHeader;
  data: GgufData | MatrixFiller;
  spec: ModelSpec;
  options?: GpuOptions;
  /** Adapters 1, 2, … of the batches. Default: none. */
  adapters?: readonly LoraFile[];
}

interface PagePart {
  buffer: GPUBuffer;
  blockBytes: number;
  copy: BoundKernel;
}

interface Parts {
  device: GpuDevice;
  spec: ModelSpec;
  plan: GpuPlan;
  arena: Arena;
  step: StepBuffer;
  forward: Forward;
  sampler: GpuSampler;
  /** Keys, values and scales of every layer, in the order in which `readBlock` gives them. */
  pageParts: PagePart[];
  weightsBytes: number;
  loras: GpuLoras | null;
}

export class GpuBackend implements Backend {
  readonly name = "webgpu";
  readonly adapter: AdapterDescription;
  readonly limits: BackendLimits;
  readonly memory: { weightsBytes: number; kvBytes: number; scratchBytes: number };
  readonly #parts: Parts;
  #crash: BackendCrash | null = null;
  #isDisposed = false;

  /** Use `GpuBackend.load`. */
  private constructor(parts: Parts) {
    const { spec, plan, arena, weightsBytes, device, loras } = parts;
    const { contextLength, blockTokens, numBlocks, maxBatchTokens, maxBatchSequences } = plan;
    this.#parts = parts;
    this.adapter = device.adapter;
    this.limits = {
      vocabSize: spec.vocabSize,
      contextLength,
      blockTokens,
      numBlocks,
      maxBatchTokens,
      maxBatchSequences,
      numAdapters: loras?.numAdapters ?? 0,
    };
    this.memory = {
      weightsBytes: weightsBytes + (loras?.weightsBytes ?? 0),
      kvBytes: arena.kvBytes,
      scratchBytes: arena.scratchBytes + (loras?.scratchBytes ?? 0),
    };
    void device.lost.then((reason) => {
      if (!this.#isDisposed) this.#lose(reason);
    });
  }

  /** @throws ModelError from the files; Error where the GPU has no room or refuses a kernel */
  static async load({ device, header, data, spec, options, adapters = [] }: GpuLoadArguments): Promise<GpuBackend> {
    const plan = planGpu(spec, options);
    const arena = makeArena(device, spec, plan);
    const step = new StepBuffer(device, layOutStep(plan));
    const loader = new WeightLoader(device);
    const ropes = ropesOf(spec, plan.contextLength);
    for (const { factors } of ropes) if (factors !== null) loader.keep(factors);
    const positions = spec.tensors.positionEmbedding;
    if (positions !== null) loader.keep(positions.stored);
    const ropeTables = new Map<RopeSpec, GPUBuffer>();
    const nothing = device.buffer("nothing", 16);
    const loras = await loadLoras({ device, step, maxBatchTokens: plan.maxBatchTokens }, adapters);
    const forward = new Forward({ device, spec, arena, step, ropeTables, loras, nothing }, loader);
    if (typeof data === "function") await loader.fill(data);
    else await loader.load(header, data);
    for (const { rope, factors } of ropes) {
      const table = ropeTable(rope, factors && loader.numbers(factors), plan.contextLength);
      ropeTables.set(rope, device.bufferOf("rope", table));
    }
    await forward.bind(positions && device.bufferOf("positions", loader.numbers(positions.stored)));
    loras?.release();
    const sampler = await GpuSampler.bind(device, arena, step, spec);
    const pageParts = await bindPages(device, arena, step);
    const parts = { device, spec, plan, arena, step, forward, sampler, pageParts, weightsBytes: loader.bytes, loras };
    return new GpuBackend(parts);
  }

  async step(batch: StepBatch): Promise<StepResult> {
    const { spec, plan, arena, step, forward, sampler, device } = this.#live();
    validateBatch(batch, this.limits);
    return this.#guard(async () => {
      this.#copy(batch.copies);
      const { size, wanted } = encodeBody(step, batch.sequences, plan, {
        window: spec.slidingWindow?.numTokens ?? 0,
        prefillTokens: prefillTokens({ ...arena.kvShape, numHeads: spec.numHeads, window: 0 }),
      });
      const dispatches = size.numTokens > 0 ? await forward.body(size) : [];
      const rows: RowResult[] = [];
      do {
        const turn = encodeHead(step, wanted, rows.length, plan);
        if (turn.outputs.length > 0) {
          dispatches.push(...(await forward.head(turn)), ...sampler.dispatches(turn));
        }
        step.upload();
        device.submit(dispatches.splice(0));
        rows.push(...(await sampler.read(turn)));
      } while (rows.length < wanted.length);
      return { rows };
    });
  }

  /** Later: memory of a GPU cannot be read at once. @throws RangeError at once for a block that does not exist */
  readBlock(block: number): Promise<Uint8Array<ArrayBuffer>> {
    const { pageParts, device } = this.#live();
    this.#checkBlock(block);
    return this.#guard(async () => {
      const out = new Uint8Array(this.#blockBytes());
      let at = 0;
      for (const { buffer, blockBytes } of pageParts) {
        out.set(new Uint8Array(await device.download(buffer, blockBytes, block * blockBytes)), at);
        at += blockBytes;
      }
      return out;
    });
  }

  writeBlock(block: number, bytes: Uint8Array): void {
    const { pageParts, device } = this.#live();
    this.#checkBlock(block);
    const wanted = this.#blockBytes();
    if (bytes.length !== wanted) {
      throw new RangeError(`A KV block has ${wanted} bytes, got ${bytes.length} for block ${block}.`);
    }
    let at = 0;
    for (const { buffer, blockBytes } of pageParts) {
      device.upload(buffer, bytes.subarray(at, at + blockBytes), block * blockBytes);
      at += blockBytes;
    }
  }

  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#parts.device.destroy();
  }

  /** Loses the device as a driver's reset would. For fault tests. @throws BackendCrash */
  crashForTest(): never {
    this.#parts.device.destroy();
    throw this.#lose("destroyed by a test");
  }

  #live(): Parts {
    if (this.#crash !== null) throw this.#crash;
    if (this.#isDisposed) throw new Error("The backend was disposed of; load the model again.");
    return this.#parts;
  }

  #lose(reason: string): BackendCrash {
    this.#crash ??= new BackendCrash(`The GPU was lost: ${reason}. Build the backend anew.`);
    return this.#crash;
  }

  /** What fails while the device is gone failed because of that. */
  async #guard<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      // That the device is lost is said a little after what was lost with it.
      await new Promise((resolve) => setImmediate(resolve));
      throw this.#crash ?? error;
    }
  }

  /** In order: rounds of copies that do not touch each other, each with its own list. */
  #copy(copies: readonly BlockCopy[]): void {
    const { device, step, pageParts } = this.#parts;
    for (const round of planCopies(copies)) {
      step.set(
        "copies",
        round.flatMap(({ from, to }) => [from, to]),
      );
      step.upload();
      const dispatches = pageParts.map(
        ({ copy, blockBytes }): Dispatch => ({ kernel: copy, workgroups: copyWorkgroups(blockBytes, round.length) }),
      );
      device.submit(dispatches);
    }
  }

  #blockBytes(): number {
    return this.#parts.pageParts.reduce((sum, { blockBytes }) => sum + blockBytes, 0);
  }

  #checkBlock(block: number): void {
    const { numBlocks } = this.limits;
    if (!Number.isInteger(block) || block < 0 || block >= numBlocks) {
      throw new RangeError(`KV block ${block} does not exist: the pool has blocks 0 to ${numBlocks - 1}.`);
    }
  }
}

async function loadLoras(context: LoraContext, files: readonly LoraFile[]): Promise<GpuLoras | null> {
  if (files.length === 0) return null;
  const contents: LoraContent[] = [];
  for (const file of files) contents.push(await readLora(file));
  return new GpuLoras(context, contents);
}

/** The different rotations of a model, with what divides their frequencies at this context. */
function ropesOf({ rope, slidingWindow }: ModelSpec, contextLength: number) {
  const ropes = [...new Set([rope, slidingWindow?.rope ?? null])].filter((one) => one !== null);
  return ropes.map((one) => {
    const { longFactors, freqFactors } = one;
    const factors = longFactors !== null && contextLength > longFactors.beyondTokens ? longFactors.tensor : freqFactors;
    return { rope: one, factors };
  });
}

async function bindPages(device: GpuDevice, { pages, kvShape }: Arena, step: StepBuffer): Promise<PagePart[]> {
  const part = async (buffer: GPUBuffer, blockBytes: number): Promise<PagePart> => {
    const copy = await device.bind(copyBlocks(blockBytes), { pairs: step.part("copies"), pages: buffer });
    return { buffer, blockBytes, copy };
  };
  const out: PagePart[] = [];
  for (const { keys, values, scales } of pages) {
    out.push(await part(keys, kvBlockBytes(kvShape)), await part(values, kvBlockBytes(kvShape)));
    if (kvShape.precision === "int8") out.push(await part(scales, scaleBlockBytes(kvShape)));
  }
  return out;
}
