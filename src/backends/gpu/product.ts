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

export class Product {
  readonly #device: GpuDevice;
  readonly #shape: MatmulShape;
  readonly #matrix: GpuMatrix;
  readonly #places: ProductPlaces;
  readonly #bound = new Map<string, Promise<BoundKernel>>();

  constructor(device: GpuDevice, matrix: GpuMatrix, places: ProductPlaces) {
    const { weightType, n, k } = matrix;
    const { epilogue, columns, bias } = places;
    this.#device = device;
    this.#matrix = matrix;
    this.#places = places;
    this.#shape = { weightType, n, k, epilogue, hasBias: bias !== null, ...(columns && { place: columns }) };
  }

  /** For `numTokens` tokens, which `counts` must say too. All choices give the same bits. */
  async dispatch(numTokens: number): Promise<Dispatch> {
    const gemmTokensMin = this.#device.adapter.isSoftware ? SOFTWARE_GEMM_TOKENS_MIN : GEMM_TOKENS_MIN;
    if (numTokens < gemmTokensMin) {
      const tokens = GEMV_TOKENS.find((count) => count >= numTokens) ?? 8;
      const workgroups = gemvWorkgroups(this.#shape, tokens, numTokens);
      return { kernel: await this.#gemv(tokens), workgroups };
    }
    const tile: GemmTileTokens = numTokens < LARGE_TILE_TOKENS_MIN ? 64 : 128;
    return { kernel: await this.#gemm(tile), workgroups: gemmWorkgroups(this.#shape, tile, numTokens) };
  }

  /** The same sums (with the bias), stored in rows of `y` instead of what becomes of them here. */
  stored(y: GPUBuffer): Product {
    return new Product(this.#device, this.#matrix, { ...this.#places, y, epilogue: "store" });
  }

  /** Compiles every choice now, so that no step has to wait for it. */
  async warm(): Promise<void> {
    await Promise.all([
      ...GEMV_TOKENS.map((tokens) => this.#gemv(tokens)),
      ...GEMM_TILE_TOKENS.map((tile) => this.#gemm(tile)),
    ]);
  }

  #gemv(tokens: number): Promise<BoundKernel> {
    return this.#kernel(`gemv ${tokens}`, () => gemv(this.#shape, tokens));
  }

  #gemm(tile: GemmTileTokens): Promise<BoundKernel> {
    return this.#kernel(`gemm ${tile}`, () => gemm(this.#shape, tile));
  }

  #kernel(name: string, make: () => ReturnType<typeof gemv>): Promise<BoundKernel> {
    const { counts, x, y, bias } = this.#places;
    const { quants, extras } = this.#matrix;
    const bound =
      this.#bound.get(name) ?? this.#device.bind(make(), { counts, x, quants, extras, bias: bias ?? extras, y });
    this.#bound.set(name, bound);
    return bound;
  }
}
