/** One matrix bound between two buffers, as kernels for any number of tokens; each is compiled when it is first needed. */
import { GEMM_TILE_TOKENS, type GemmTileTokens, gemm, gemmWorkgroups } from "../../../kernels-gpu/matmul/gemm.ts";
import { GEMV_TOKENS, gemv, gemvWorkgroups } from "../../../kernels-gpu/matmul/gemv.ts";
import type { Epilogue, MatmulShape } from "../../../kernels-gpu/matmul/matmul.ts";
import type { BoundKernel, BufferPart, Dispatch, GpuDevice } from "./device.ts";
import type { GpuMatrix } from "./weights.ts";

export interface ProductPlaces {
  counts: BufferPart;
  x: GPUBuffer;
  y: GPUBuffer;
  /** Anything where there is no bias: it is not read. */
  bias: GPUBuffer | null;
  epilogue: Epilogue;
  columns?: { firstColumn: number; width: number };
}

/** From so many tokens on, tiles do less work than passes over the weights for 8 tokens each. */
const GEMM_TOKENS_MIN = 17;
/** On a CPU that plays a GPU: it compiles for seconds what it then runs for a moment, and so gets two kernels only. */
const SOFTWARE_GEMM_TOKENS_MIN = 2;
/** From so many on, the large tile is full. */
const LARGE_TILE_TOKENS_MIN = 65;

/** Tokens of a pass over the weights, or of a tile. */
type Choice = { kind: "gemv"; tokens: number } | { kind: "gemm"; tokens: GemmTileTokens };

export class Product {
  readonly #device: GpuDevice;
  readonly #shape: MatmulShape;
  readonly #matrix: GpuMatrix;
  readonly #places: ProductPlaces;
  readonly #bound = new Map<string, Promise<BoundKernel>>();
  readonly #ready = new Map<string, BoundKernel>();

  constructor(device: GpuDevice, matrix: GpuMatrix, places: ProductPlaces) {
    const { weightType, n, k } = matrix;
    const { epilogue, columns, bias } = places;
    this.#device = device;
    this.#matrix = matrix;
    this.#places = places;
    this.#shape = { weightType, n, k, epilogue, hasBias: bias !== null, ...(columns && { place: columns }) };
  }

  /**
   * For `numTokens` tokens, which `counts` must say too. All choices give the same bits.
   * @throws Error where neither `prepare` nor `warm` has compiled it
   */
  dispatch(numTokens: number): Dispatch {
    const choice = this.#choose(numTokens);
    const kernel = this.#ready.get(nameOf(choice));
    if (kernel === undefined) throw new Error(`${nameOf(choice)} was not prepared for ${numTokens} tokens.`);
    const workgroups =
      choice.kind === "gemv"
        ? gemvWorkgroups(this.#shape, choice.tokens, numTokens)
        : gemmWorkgroups(this.#shape, choice.tokens, numTokens);
    return { kernel, workgroups };
  }

  /** Compiles what `dispatch` needs for so many tokens. @returns null where that was done before */
  prepare(numTokens: number): Promise<unknown> | null {
    const choice = this.#choose(numTokens);
    return this.#ready.has(nameOf(choice)) ? null : this.#kernel(choice);
  }

  /** The same sums (with the bias), stored in rows of `y` instead of what becomes of them here. */
  stored(y: GPUBuffer): Product {
    return new Product(this.#device, this.#matrix, { ...this.#places, y, epilogue: "store" });
  }

  /** Compiles every choice now, so that no step has to wait for it. */
  async warm(): Promise<void> {
    await Promise.all([
      ...GEMV_TOKENS.map((tokens) => this.#kernel({ kind: "gemv", tokens })),
      ...GEMM_TILE_TOKENS.map((tokens) => this.#kernel({ kind: "gemm", tokens })),
    ]);
  }

  #choose(numTokens: number): Choice {
    const gemmTokensMin = this.#device.adapter.isSoftware ? SOFTWARE_GEMM_TOKENS_MIN : GEMM_TOKENS_MIN;
    if (numTokens < gemmTokensMin) {
      return { kind: "gemv", tokens: GEMV_TOKENS.find((count) => count >= numTokens) ?? 8 };
    }
    return { kind: "gemm", tokens: numTokens < LARGE_TILE_TOKENS_MIN ? 64 : 128 };
  }

  #kernel(choice: Choice): Promise<BoundKernel> {
    const name = nameOf(choice);
    const bound = this.#bound.get(name) ?? this.#bind(choice);
    this.#bound.set(name, bound);
    return bound;
  }

  async #bind(choice: Choice): Promise<BoundKernel> {
    const { counts, x, y, bias } = this.#places;
    const { quants, extras } = this.#matrix;
    const kernel = choice.kind === "gemv" ? gemv(this.#shape, choice.tokens) : gemm(this.#shape, choice.tokens);
    const bound = await this.#device.bind(kernel, { counts, x, quants, extras, bias: bias ?? extras, y });
    this.#ready.set(nameOf(choice), bound);
    return bound;
  }
}

function nameOf({ kind, tokens }: Choice): string {
  return `${kind} ${tokens}`;
}
