/**
 * A backend with random weights of a known shape, without a file: 16 GB would take longer to write, read and pack than
 * everything else that is measured. Some rows of each kind of matrix are made and packed once, and uploaded over and over.
 */
import { packRows, weightFormat } from "../../../kernels-gpu/weights/pack.ts";
import type { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { GpuBackend } from "../../../src/backends/gpu/gpu-backend.ts";
import type { GpuOptions } from "../../../src/backends/gpu/options.ts";
import type { MatrixFiller } from "../../../src/backends/gpu/weights.ts";
import { GGML_BLOCK } from "../../../src/model/gguf.ts";
import { type GgufFile, readGguf } from "../../../src/model/gguf-reader.ts";
import { specFromGguf } from "../../../src/model/spec-from-gguf.ts";
import { uniformSource } from "../../../test/support/random.ts";
import type { MixName, ShapeName } from "../gguf-shapes.ts";
import { randomBlocks } from "../random-blocks.ts";
import { randomGgufHeader } from "../random-gguf.ts";

export interface RandomModel {
  shape: ShapeName;
  mix: MixName;
}

/** Rows that are made of each kind of matrix, about: in bytes of the file. */
const TILE_BYTES = 4 * 2 ** 20;
/** Uploads on their way to the GPU at a time. */
const UNSETTLED_BYTES = 256 * 2 ** 20;

/** @param device owned by the backend from then on */
export async function loadRandomModel(
  device: GpuDevice,
  { shape, mix }: RandomModel,
  options: GpuOptions,
): Promise<GpuBackend> {
  const { header, data } = await headerOf(randomGgufHeader({ shape, mix, seed: 1 }), shape);
  await data.cancel();
  const spec = specFromGguf(header, shape);
  return GpuBackend.load({ device, header, data: randomFiller(1), spec, options });
}

function headerOf(bytes: Uint8Array<ArrayBuffer>, name: string): Promise<GgufFile> {
  // Without a size: the tensors that it lists lie behind its end.
  return readGguf({ name, sizeBytes: null, open: async () => new Blob([bytes]).stream() });
}

export function randomFiller(seed: number): MatrixFiller {
  const uniform = uniformSource(seed);
  const tiles = new Map<string, { rows: number; quants: Uint32Array; extras: Uint32Array }>();
  let unsettledBytes = 0;
  return async (device, { weightType, n, k, quants, extras }) => {
    const format = weightFormat(weightType);
    const key = `${weightType} ${k}`;
    let tile = tiles.get(key);
    if (tile === undefined) {
      const rows = Math.max(1, Math.floor(TILE_BYTES / format.fileRowBytes(k)));
      const paddedK = Math.ceil(k / GGML_BLOCK[weightType].elements) * GGML_BLOCK[weightType].elements;
      const packed = packRows(format, randomBlocks(weightType, rows * paddedK, 1 / Math.sqrt(k), uniform), k);
      tile = { rows, ...packed };
      tiles.set(key, tile);
    }
    const rowWords = { quants: tile.quants.length / tile.rows, extras: tile.extras.length / tile.rows };
    for (let row = 0; row < n; row += tile.rows) {
      const rows = Math.min(tile.rows, n - row);
      device.upload(quants, tile.quants.subarray(0, rows * rowWords.quants), row * rowWords.quants * 4);
      if (rowWords.extras > 0) {
        device.upload(extras, tile.extras.subarray(0, rows * rowWords.extras), row * rowWords.extras * 4);
      }
      unsettledBytes += rows * (rowWords.quants + rowWords.extras) * 4;
      if (unsettledBytes < UNSETTLED_BYTES) continue;
      await device.download(quants, 4);
      unsettledBytes = 0;
    }
  };
}

/** Of one token's keys and values, all layers, in f16. */
export function kvTokenBytes({ memory, limits }: GpuBackend): number {
  return memory.kvBytes / (limits.numBlocks * limits.blockTokens);
}
