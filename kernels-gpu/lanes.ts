/**
 * The order in which matrix kernels read and sum. A row of K elements is cut into chunks of 32; 16 lanes share a row,
 * lane t takes chunks t, t + 16, t + 32, … . 16 chunks are a superchunk.
 *
 * Layout ("lane-major"), of activations and of quants alike: within a superchunk, the first 16 bytes of every lane's chunk
 * lie side by side, then the second 16 bytes, and so on. So lanes that run together read 256 consecutive bytes with 16-byte
 * loads. The last superchunk may have fewer chunks and is as much narrower; nothing is padded but K to whole chunks.
 *
 * Order of a sum: each lane adds its products one by one, chunk after chunk, with fma; then the 16 lanes' sums are added in
 * the order of lanes. Every matrix kernel keeps it: one token or a thousand, the same row gives the same bits.
 */
import { ceilDiv } from "./kernel.ts";

/** Elements of a chunk: one block of the 32-element types, an eighth of a K-quant's. */
export const CHUNK = 32;
export const NUM_LANES = 16;

export const numChunks = (k: number): number => ceilDiv(k, CHUNK);

/** Elements that a lane-major row of `k` values takes. */
export const paddedWidth = (k: number): number => numChunks(k) * CHUNK;

/**
 * Index of a 16-byte unit in a lane-major row.
 * @param unitsPerChunk 16-byte units of a chunk: 8 of f32, 4 of halves, 1 of nibbles
 */
export function laneUnit(chunk: number, unit: number, unitsPerChunk: number, chunks: number): number {
  const first = chunk - (chunk % NUM_LANES);
  const width = Math.min(NUM_LANES, chunks - first);
  return first * unitsPerChunk + unit * width + (chunk - first);
}

/** A row of activations [k] in lane-major order, padded with zeros. */
export function toLaneMajor(row: ArrayLike<number>): Float32Array {
  const chunks = numChunks(row.length);
  const out = new Float32Array(chunks * CHUNK);
  for (let i = 0; i < row.length; i++) out[laneElement(i, chunks)] = row[i]!;
  return out;
}

/** The first k values of a lane-major row in their natural order. */
export function fromLaneMajor(row: ArrayLike<number>, k: number): Float32Array {
  const chunks = numChunks(k);
  return Float32Array.from({ length: k }, (_, i) => row[laneElement(i, chunks)]!);
}

function laneElement(i: number, chunks: number): number {
  return laneUnit(Math.floor(i / CHUNK), (i % CHUNK) >> 2, 8, chunks) * 4 + (i & 3);
}

/** WGSL `lane_vec4(k4)`: where the vec4 at 4·k4 of a natural row of width `k` lies in its lane-major row. */
export function laneVec4Wgsl(k: number): string {
  const chunks = numChunks(k);
  return /* wgsl */ `
fn lane_vec4(k4: u32) -> u32 {
  let chunk = k4 / 8u;
  let first = chunk & ${~(NUM_LANES - 1) >>> 0}u;
  let width = min(${NUM_LANES}u, ${chunks}u - first);
  return first * 8u + (k4 & 7u) * width + (chunk - first);
}`;
}
