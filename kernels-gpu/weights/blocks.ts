/**
 * Q4_0 and Q8_0: a chunk is a block of the file. Scales lie as pairs of halves in the extras.
 *
 * Integers become floats by putting them into the mantissa of 2^23 and subtracting: a conversion instruction runs at a
 * quarter of the rate on common GPUs. All of it is exact, and so is scale · quant (11 + 8 bits).
 */
import { laneUnit, numChunks } from "../lanes.ts";
import { decoders } from "./dense.ts";
import { placeWgsl, type WeightFormat } from "./format.ts";

const BLOCK_BYTES = { Q4_0: 18, Q8_0: 34 };

/** Even chunks in the low half of a word. */
export function putHalf(words: Uint32Array, index: number, bits: number): void {
  words[index >> 1]! |= bits << (16 * (index & 1));
}

/** `f` of the chunk's scale: half `chunk` of the extras. */
const SCALE = (words: number) =>
  /* wgsl */ `let pair = unpack2x16float(extras[row * ${words}u + (chunk >> 1u)]);
  let d = select(pair.x, pair.y, (chunk & 1u) == 1u);`;

const scaleWords = (chunks: number) => (chunks + 1) >> 1;

const Q4_0: WeightFormat = {
  type: "Q4_0",
  unitsPerChunk: 1,
  extraWords: scaleWords,
  fileRowBytes: (k) => numChunks(k) * BLOCK_BYTES.Q4_0,
  packRow(file, k, quants, extras) {
    const chunks = numChunks(k);
    for (let chunk = 0; chunk < chunks; chunk++) {
      const at = chunk * BLOCK_BYTES.Q4_0;
      putHalf(extras, chunk, file.getUint16(at, true));
      putNibbles(file, at + 2, quants, laneUnit(chunk, 0, 1, chunks) * 4);
    }
  },
  wgsl: (chunks) => /* wgsl */ `
struct Chunk { q: vec4<u32>, d: f32 }
${placeWgsl(1, chunks)}
fn load_chunk(row: u32, chunk: u32) -> Chunk {
  ${SCALE(scaleWords(chunks))}
  return Chunk(quants[first_unit(row, chunk)], d);
}
${decoders((j) => `c.d * (${nibbles(`c.q[${j >> 1}]`, j & 1)} - 8388616.0)`)}`,
};

const Q8_0: WeightFormat = {
  type: "Q8_0",
  unitsPerChunk: 2,
  extraWords: scaleWords,
  fileRowBytes: (k) => numChunks(k) * BLOCK_BYTES.Q8_0,
  packRow(file, k, quants, extras) {
    const chunks = numChunks(k);
    for (let chunk = 0; chunk < chunks; chunk++) {
      const at = chunk * BLOCK_BYTES.Q8_0;
      putHalf(extras, chunk, file.getUint16(at, true));
      for (let word = 0; word < 8; word++) {
        // Biased by 128, so that a byte is never negative.
        const to = laneUnit(chunk, word >> 2, 2, chunks) * 4 + (word & 3);
        quants[to] = file.getUint32(at + 2 + 4 * word, true) ^ 0x80808080;
      }
    }
  },
  wgsl: (chunks) => /* wgsl */ `
struct Chunk { q0: vec4<u32>, q1: vec4<u32>, d: f32 }
${placeWgsl(2, chunks)}
fn load_chunk(row: u32, chunk: u32) -> Chunk {
  ${SCALE(scaleWords(chunks))}
  let at = first_unit(row, chunk);
  return Chunk(quants[at], quants[at + unit_stride(chunk)], d);
}
${decoders((j) => {
  const word = `c.q${j >> 2}[${j & 3}]`;
  return `c.d * (bitcast<vec4<f32>>(((vec4<u32>(${word}) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u)) | vec4<u32>(0x4b000000u)) - 8388736.0)`;
})}`,
};

/** WGSL: nibbles 4·half … of a word as 2^23 + value. */
export function nibbles(word: string, half: number): string {
  const shifts = [0, 4, 8, 12].map((shift) => `${shift + 16 * half}u`).join(", ");
  return `bitcast<vec4<f32>>(((vec4<u32>(${word}) >> vec4<u32>(${shifts})) & vec4<u32>(15u)) | vec4<u32>(0x4b000000u))`;
}

/** Element i of the chunk becomes nibble i mod 8 of word i / 8; the file has elements i and i + 16 in one byte. */
function putNibbles(file: DataView, at: number, quants: Uint32Array, to: number): void {
  for (let i = 0; i < 16; i++) {
    const byte = file.getUint8(at + i);
    const shift = 4 * (i & 7);
    quants[to + (i >> 3)]! |= (byte & 15) << shift;
    quants[to + 2 + (i >> 3)]! |= (byte >> 4) << shift;
  }
}

export const BLOCK_FORMATS = [Q4_0, Q8_0];
