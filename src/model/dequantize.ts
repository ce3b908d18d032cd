/**
 * Stored weights → numbers, for every type an engine reads: the exact meaning of a file, against which engines are tested,
 * and the way of types that a GPU has no kernel for.
 * Plain loops in the order of the format's description (ggml-common.h, block_q*), no attempt at speed.
 */

import { bfloatToFloat, halfToFloat } from "./float16.ts";
import { GGML_BLOCK, type GgmlTypeName } from "./gguf.ts";

/** One block: `at` is its first byte, results go to out[to …]. */
type BlockDecoder = (view: DataView, at: number, out: Float32Array, to: number) => void;

const half = (view: DataView, at: number) => halfToFloat(view.getUint16(at, true));

/** Low nibbles are the first half of the block, high nibbles the second. */
function nibble(view: DataView, at: number, i: number): number {
  return i < 16 ? view.getUint8(at + i) & 15 : view.getUint8(at + i - 16) >> 4;
}

function fifthBit(view: DataView, at: number, i: number): number {
  return ((view.getUint32(at, true) >>> i) & 1) << 4;
}

/** Six-bit scales and mins of the eight sub-blocks of Q4_K and Q5_K, in 12 bytes. */
function scalesAndMins(view: DataView, at: number): { scales: number[]; mins: number[] } {
  const byte = (i: number) => view.getUint8(at + i);
  const scales: number[] = [];
  const mins: number[] = [];
  for (let j = 0; j < 8; j++) {
    scales.push(j < 4 ? byte(j) & 63 : (byte(j + 4) & 15) | ((byte(j - 4) >> 6) << 4));
    mins.push(j < 4 ? byte(j + 4) & 63 : (byte(j + 4) >> 4) | ((byte(j) >> 6) << 4));
  }
  return { scales, mins };
}

/** What the nibbles of IQ4_NL and IQ4_XS stand for. */
export const IQ4_CODEBOOK = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];

/** Bits 2·(i / 32 mod 4) of byte i mod 32 of each 128 elements' 32 bytes: the pairs of Q2_K, Q3_K and Q6_K. */
function bitPair(view: DataView, at: number, i: number): number {
  return (view.getUint8(at + (i >> 7) * 32 + (i & 31)) >> (((i >> 5) & 3) * 2)) & 3;
}

/** Scale j of the sixteen of Q3_K: low nibbles in 8 bytes, bit pairs in the 4 behind them. */
function q3Scale(view: DataView, at: number, j: number): number {
  const low = (view.getUint8(at + (j & 7)) >> (j < 8 ? 0 : 4)) & 15;
  return (low | (((view.getUint8(at + 8 + (j & 3)) >> ((j >> 2) * 2)) & 3) << 4)) - 32;
}

const DECODERS: Record<GgmlTypeName, BlockDecoder> = {
  F32: (view, at, out, to) => {
    out[to] = view.getFloat32(at, true);
  },
  F16: (view, at, out, to) => {
    out[to] = half(view, at);
  },
  BF16: (view, at, out, to) => {
    out[to] = bfloatToFloat(view.getUint16(at, true));
  },
  Q4_0: (view, at, out, to) => {
    const d = half(view, at);
    for (let i = 0; i < 32; i++) out[to + i] = (nibble(view, at + 2, i) - 8) * d;
  },
  Q4_1: (view, at, out, to) => {
    const [d, m] = [half(view, at), half(view, at + 2)];
    for (let i = 0; i < 32; i++) out[to + i] = nibble(view, at + 4, i) * d + m;
  },
  Q5_0: (view, at, out, to) => {
    const d = half(view, at);
    for (let i = 0; i < 32; i++) out[to + i] = ((nibble(view, at + 6, i) | fifthBit(view, at + 2, i)) - 16) * d;
  },
  Q5_1: (view, at, out, to) => {
    const [d, m] = [half(view, at), half(view, at + 2)];
    for (let i = 0; i < 32; i++) out[to + i] = (nibble(view, at + 8, i) | fifthBit(view, at + 4, i)) * d + m;
  },
  Q8_0: (view, at, out, to) => {
    const d = half(view, at);
    for (let i = 0; i < 32; i++) out[to + i] = view.getInt8(at + 2 + i) * d;
  },
  Q2_K: (view, at, out, to) => {
    const [d, dmin] = [half(view, at + 80), half(view, at + 82)];
    for (let i = 0; i < 256; i++) {
      const byte = view.getUint8(at + (i >> 4));
      out[to + i] = d * (byte & 15) * bitPair(view, at + 16, i) - dmin * (byte >> 4);
    }
  },
  Q3_K: (view, at, out, to) => {
    const d = half(view, at + 108);
    for (let i = 0; i < 256; i++) {
      const high = (view.getUint8(at + (i & 31)) >> (i >> 5)) & 1;
      out[to + i] = d * q3Scale(view, at + 96, i >> 4) * ((bitPair(view, at + 32, i) | (high << 2)) - 4);
    }
  },
  Q4_K: (view, at, out, to) => {
    const [d, dmin] = [half(view, at), half(view, at + 2)];
    const { scales, mins } = scalesAndMins(view, at + 4);
    for (let i = 0; i < 256; i++) {
      const sub = i >> 5;
      const byte = view.getUint8(at + 16 + (sub >> 1) * 32 + (i & 31));
      out[to + i] = d * scales[sub]! * (sub & 1 ? byte >> 4 : byte & 15) - dmin * mins[sub]!;
    }
  },
  Q5_K: (view, at, out, to) => {
    const [d, dmin] = [half(view, at), half(view, at + 2)];
    const { scales, mins } = scalesAndMins(view, at + 4);
    for (let i = 0; i < 256; i++) {
      const sub = i >> 5;
      const byte = view.getUint8(at + 48 + (sub >> 1) * 32 + (i & 31));
      const high = (view.getUint8(at + 16 + (i & 31)) >> sub) & 1;
      out[to + i] = d * scales[sub]! * ((sub & 1 ? byte >> 4 : byte & 15) | (high << 4)) - dmin * mins[sub]!;
    }
  },
  Q6_K: (view, at, out, to) => {
    const d = half(view, at + 208);
    for (let i = 0; i < 256; i++) {
      const quarter = (i >> 5) & 3;
      const inHalf = i >> 7;
      const low = view.getUint8(at + inHalf * 64 + (quarter & 1) * 32 + (i & 31));
      const q = (quarter & 2 ? low >> 4 : low & 15) | (bitPair(view, at + 128, i) << 4);
      out[to + i] = d * view.getInt8(at + 192 + (i >> 4)) * (q - 32);
    }
  },
  IQ4_NL: (view, at, out, to) => {
    const d = half(view, at);
    for (let i = 0; i < 32; i++) out[to + i] = d * IQ4_CODEBOOK[nibble(view, at + 2, i)]!;
  },
  IQ4_XS: (view, at, out, to) => {
    const d = half(view, at);
    for (let sub = 0; sub < 8; sub++) {
      const low = (view.getUint8(at + 4 + (sub >> 1)) >> ((sub & 1) * 4)) & 15;
      const scale = (low | (((view.getUint16(at + 2, true) >> (sub * 2)) & 3) << 4)) - 32;
      for (let i = 0; i < 32; i++) {
        out[to + sub * 32 + i] = d * scale * IQ4_CODEBOOK[nibble(view, at + 8 + sub * 16, i)]!;
      }
    }
  },
};

/** @returns numbers in the order of the file, as f32 (which holds every product of a block's scale exactly enough) */
export function dequantize(type: GgmlTypeName, bytes: Uint8Array): Float32Array {
  const block = GGML_BLOCK[type];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const numBlocks = bytes.length / block.bytes;
  if (!Number.isInteger(numBlocks)) throw new Error(`${bytes.length} bytes are no whole ${type} blocks`);
  const out = new Float32Array(numBlocks * block.elements);
  for (let i = 0; i < numBlocks; i++) DECODERS[type](view, i * block.bytes, out, i * block.elements);
  return out;
}
