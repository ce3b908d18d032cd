/**
 * LoRA adapters in a step: beside a product that some adapter has something for, two kernels that add it to what the product
 * has stored, for the rows that asked for it. A model without adapters has none of this, a step without them runs none.
 */
import { expandWorkgroups, loraExpand } from "../../../kernels-gpu/lora/expand.ts";
import { loraShrink, shrinkWorkgroups } from "../../../kernels-gpu/lora/shrink.ts";
import type { Dispatch, GpuDevice } from "./device.ts";
import { type LoraContent, type LoraPlace, packLoraSite } from "./lora-weights.ts";
import type { StepBuffer } from "./step-buffer.ts";

export interface LoraContext {
  device: GpuDevice;
  step: StepBuffer;
  /** Most tokens of a step. */
  maxBatchTokens: number;
}

/** Where a product reads and writes: lane-major rows, and rows of `width`. */
export interface LoraSitePlaces {
  x: GPUBuffer;
  y: GPUBuffer;
  width: number;
  places: readonly LoraPlace[];
}

/** The kernels of one product. @param numItems of the step's work list */
export type LoraSite = (numItems: number) => Dispatch[];

/** Projections of one product, at the most. */
const PARTS_MAX = 3;

export class GpuLoras {
  readonly #context: LoraContext;
  #contents: readonly LoraContent[];
  readonly #hidden: GPUBuffer;
  /** By their width: one layer after another uses them. */
  readonly #sums = new Map<number, GPUBuffer>();
  readonly #rankMax: number;
  readonly numAdapters: number;
  weightsBytes = 0;
  scratchBytes = 0;

  constructor(context: LoraContext, contents: readonly LoraContent[]) {
    this.#context = context;
    this.#contents = contents;
    this.numAdapters = contents.length;
    this.#rankMax = Math.max(...contents.flatMap(({ pairs }) => [...pairs.values()].map(({ rank }) => rank)));
    this.#hidden = this.#rows("adapters' hidden rows", PARTS_MAX * this.#rankMax);
  }

  /** Does any adapter have something for these? */
  adapts(places: readonly LoraPlace[]): boolean {
    return this.#contents.some(({ pairs }) => places.some(({ role }) => pairs.has(role.stored.name)));
  }

  /** Rows of a product's results that wait for their adapters. */
  sums(width: number): GPUBuffer {
    const rows = this.#sums.get(width) ?? this.#rows("sums before the activation", width);
    this.#sums.set(width, rows);
    return rows;
  }

  /** Packs, uploads and binds. @returns null where no adapter has anything for these projections */
  async bind({ x, y, width, places }: LoraSitePlaces): Promise<LoraSite | null> {
    const { device, step } = this.#context;
    const weights = await packLoraSite(device, this.#contents, places);
    if (weights === null) return null;
    const { aType, bType, numOwnRows, segments, quants, b, bytes } = weights;
    this.weightsBytes += bytes;
    const parts = places.map(({ part }) => part);
    const shrink = { type: aType, k: places[0]!.role.dims[0]!, numParts: parts.length, rankMax: this.#rankMax };
    const expand = { type: bType, parts, width, rankMax: this.#rankMax };
    const lists = { items: step.part("loraItems"), rows: step.part("loraRows"), segments, h: this.#hidden };
    const [first, second] = await Promise.all([
      device.bind(loraShrink(shrink), { ...lists, x, quants }),
      device.bind(loraExpand(expand), { ...lists, b, y }),
    ]);
    return (numItems) => [
      { kernel: first, workgroups: shrinkWorkgroups(numOwnRows, numItems) },
      { kernel: second, workgroups: expandWorkgroups(expand, numItems) },
    ];
  }

  /** Every site is bound: what the CPU holds may go. */
  release(): void {
    this.#contents = [];
  }

  #rows(label: string, width: number): GPUBuffer {
    const { device, maxBatchTokens } = this.#context;
    const bytes = maxBatchTokens * width * 4;
    this.scratchBytes += bytes;
    return device.buffer(label, bytes);
  }
}
