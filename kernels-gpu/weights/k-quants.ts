/**
 * Q4_K and Q6_K: blocks of 256 elements, 8 chunks. Six-bit scales become bytes, so that no kernel has to untangle them;
 * nothing else grows. A row's extras, in words:
 *
 *  - Q4_K: a half of each chunk (scale, minimum as bytes), then (d, dmin) as halves for each block;
 *  - Q6_K: a half of each chunk (scales of its two 16s, i8), the halves d of each block, then two words of bit pairs for
 *    each chunk, in lane-major order so that lanes read side by side.
 *
 * d · scale is exact in f32 (11 + 8 bits), so a value has one rounding, whichever way a compiler fuses it.
 */
import { laneUnit, numChunks } from "../lanes.ts";
import { nibbles, putHalf } from "./blocks.ts";
import { decoders } from "./dense.ts";
import { placeWgsl, type WeightFormat } from "./format.ts";

const BLOCK = { elements: 256, chunks: 8 };
const BLOCK_BYTES = { Q4_K: 144, Q6_K: 210 };

const Q4_K: WeightFormat = {
  type: "Q4_K",
  unitsPerChunk: 1,
  extraWords: (chunks) => chunks / 2 + chunks / 8,
  fileRowBytes: (k) => (k / BLOCK.elements) * BLOCK_BYTES.Q4_K,
  packRow(file, k, quants, extras) {
    const chunks = numChunks(k);
    for (let chunk = 0; chunk < chunks; chunk++) {
      const block = chunk >> 3;
      const sub = chunk & 7;
      const at = block * BLOCK_BYTES.Q4_K;
      extras[chunks / 2 + block] = file.getUint32(at, true);
      putHalf(extras, chunk, packedScale(file, at + 4, sub));
      // 32 bytes hold two chunks, one in the low nibbles.
      const from = at + 16 + (sub >> 1) * 32;
      const to = laneUnit(chunk, 0, 1, chunks) * 4;
      for (let i = 0; i < 32; i++) {
        const nibble = (file.getUint8(from + i) >> (4 * (sub & 1))) & 15;
        quants[to + (i >> 3)]! |= nibble << (4 * (i & 7));
      }
    }
  },
  wgsl: (chunks) => /* wgsl */ `
struct Chunk { q: vec4<u32>, scale: f32, minus: f32 }
${placeWgsl(1, chunks)}
fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let extra = row * ${chunks / 2 + chunks / 8}u;
  let pair = extras[extra + (chunk >> 1u)] >> (16u * (chunk & 1u));
  let d = unpack2x16float(extras[extra + ${chunks / 2}u + (chunk >> 3u)]);
  return Chunk(quants[first_unit(row, chunk)], d.x * f32(pair & 255u), -(d.y * f32((pair >> 8u) & 255u)));
}
${decoders((j) => `fma(vec4<f32>(c.scale), ${nibbles(`c.q[${j >> 1}]`, j & 1)} - 8388608.0, vec4<f32>(c.minus))`)}`,
};

/** Scale in the low byte, minimum in the high one, of sub-block j: `get_scale_min_k4` of ggml. */
function packedScale(file: DataView, at: number, j: number): number {
  const byte = (i: number) => file.getUint8(at + i);
  if (j < 4) return (byte(j) & 63) | ((byte(j + 4) & 63) << 8);
  const scale = (byte(j + 4) & 15) | ((byte(j - 4) >> 6) << 4);
  const minimum = (byte(j + 4) >> 4) | ((byte(j) >> 6) << 4);
  return scale | (minimum << 8);
}

/** Words before the halves d, and before the bit pairs. */
function q6Places(chunks: number): { d: number; pairs: number; words: number } {
  const d = chunks / 2;
  const pairs = d + ((chunks / 8 + 1) >> 1);
  return { d, pairs, words: pairs + 2 * chunks };
}

const Q6_K: WeightFormat = {
  type: "Q6_K",
  unitsPerChunk: 1,
  extraWords: (chunks) => q6Places(chunks).words,
  fileRowBytes: (k) => (k / BLOCK.elements) * BLOCK_BYTES.Q6_K,
  packRow(file, k, quants, extras) {
    const chunks = numChunks(k);
    const { d, pairs } = q6Places(chunks);
    for (let chunk = 0; chunk < chunks; chunk++) {
      const block = chunk >> 3;
      const sub = chunk & 7;
      const at = block * BLOCK_BYTES.Q6_K;
      if (sub === 0) putHalf(extras.subarray(d), block, file.getUint16(at + 208, true));
      putHalf(extras, chunk, file.getUint16(at + 192 + 2 * sub, true));
      const to = laneUnit(chunk, 0, 1, chunks) * 4;
      for (let i = 0; i < 32; i++) {
        const { low, high } = q6Bits(file, at, sub, i);
        quants[to + (i >> 3)]! |= low << (4 * (i & 7));
        extras[pairs + laneUnit(chunk, i >> 4, 2, chunks)]! |= high << (2 * (i & 15));
      }
    }
  },
  wgsl: (chunks) => {
    const { d, pairs, words } = q6Places(chunks);
    return /* wgsl */ `
struct Chunk { q: vec4<u32>, high: vec2<u32>, scale: vec2<f32> }
${placeWgsl(1, chunks)}
fn load_chunk(row: u32, chunk: u32) -> Chunk {
  let extra = row * ${words}u;
  let scales = bitcast<i32>(extras[extra + (chunk >> 1u)] << (16u * (1u - (chunk & 1u))));
  let ds = unpack2x16float(extras[extra + ${d}u + (chunk >> 4u)]);
  let d = select(ds.x, ds.y, ((chunk >> 3u) & 1u) == 1u);
  let first = chunk & 0xfffffff0u;
  let at = extra + ${pairs}u + first * 2u + (chunk - first);
  let high = vec2<u32>(extras[at], extras[at + unit_stride(chunk)]);
  return Chunk(quants[first_unit(row, chunk)], high, d * vec2<f32>(f32((scales << 8u) >> 24u), f32(scales >> 24u)));
}
${decoders((j) => {
  const shifts = [0, 4, 8, 12].map((shift) => `${shift + 16 * (j & 1)}u`).join(", ");
  const pairShifts = [0, 2, 4, 6].map((shift) => `${shift + 8 * (j & 3)}u`).join(", ");
  const low = `((vec4<u32>(c.q[${j >> 1}]) >> vec4<u32>(${shifts})) & vec4<u32>(15u))`;
  const high = `(((vec4<u32>(c.high[${j >> 2}]) >> vec4<u32>(${pairShifts})) & vec4<u32>(3u)) << vec4<u32>(4u))`;
  return `c.scale[${j >> 2}] * (bitcast<vec4<f32>>(${low} | ${high} | vec4<u32>(0x4b000000u)) - 8388640.0)`;
})}`;
  },
};

/** The six bits of element i of chunk `sub`: four in `ql`, two in `qh`. */
function q6Bits(file: DataView, at: number, sub: number, i: number): { low: number; high: number } {
  const inHalf = sub >> 2;
  const quarter = sub & 3;
  const byte = file.getUint8(at + inHalf * 64 + (quarter & 1) * 32 + i);
  const low = quarter & 2 ? byte >> 4 : byte & 15;
  const high = (file.getUint8(at + 128 + inHalf * 32 + i) >> (2 * quarter)) & 3;
  return { low, high };
}

export const K_FORMATS = [Q4_K, Q6_K];
