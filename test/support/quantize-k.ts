/**
 * The K-quants: 256 elements with scales that are themselves quantized. Codes are chosen against the scales as they
 * will be read back, so that a coarse scale costs as little as it can.
 */
import { floatToHalf, roundToHalf } from "./float16.ts";

const clamp = (value: number, min: number, max: number) => Math.min(Math.max(value, min), max);

/** Six-bit scales and mins into 12 bytes: the first four of each whole, the rest split into nibbles and top bits. */
function putScalesAndMins(scales: number[], mins: number[], view: DataView, at: number): void {
  const bytes = new Uint8Array(12);
  for (let j = 0; j < 4; j++) {
    bytes[j] = scales[j]! | ((scales[j + 4]! >> 4) << 6);
    bytes[j + 4] = mins[j]! | ((mins[j + 4]! >> 4) << 6);
    bytes[j + 8] = (scales[j + 4]! & 15) | ((mins[j + 4]! & 15) << 4);
  }
  bytes.forEach((byte, i) => {
    view.setUint8(at + i, byte);
  });
}

/** Header of Q4_K and Q5_K (d, dmin, scales, mins) and the codes that go with it. Values are d·scale·q − dmin·min. */
function encodeAffine(values: Float32Array, levels: number, view: DataView, at: number): number[] {
  const ranges = Array.from({ length: 8 }, (_, j) => {
    const sub = values.subarray(j * 32, j * 32 + 32);
    const min = Math.min(0, ...sub);
    return { scale: (Math.max(...sub) - min) / (levels - 1), min: -min };
  });
  const d = Math.max(...ranges.map((range) => Math.max(range.scale, 0))) / 63;
  const dmin = Math.max(...ranges.map((range) => range.min)) / 63;
  const scales = ranges.map((range) => (d > 0 ? clamp(Math.round(range.scale / d), 0, 63) : 0));
  const mins = ranges.map((range) => (dmin > 0 ? clamp(Math.round(range.min / dmin), 0, 63) : 0));
  view.setUint16(at, floatToHalf(d), true);
  view.setUint16(at + 2, floatToHalf(dmin), true);
  putScalesAndMins(scales, mins, view, at + 4);
  return Array.from(values, (x, i) => {
    const scale = roundToHalf(d) * scales[i >> 5]!;
    const min = roundToHalf(dmin) * mins[i >> 5]!;
    return scale === 0 ? 0 : clamp(Math.round((x + min) / scale), 0, levels - 1);
  });
}

/** Four bits each: of every 64 elements the first 32 are low nibbles, the next 32 high ones. */
function putKNibbles(codes: number[], view: DataView, at: number): void {
  for (let i = 0; i < 128; i++) {
    const first = (i >> 5) * 64 + (i & 31);
    view.setUint8(at + i, (codes[first]! & 15) | ((codes[first + 32]! & 15) << 4));
  }
}

export function encodeQ4K(values: Float32Array, view: DataView, at: number): void {
  putKNibbles(encodeAffine(values, 16, view, at), view, at + 16);
}

export function encodeQ5K(values: Float32Array, view: DataView, at: number): void {
  const codes = encodeAffine(values, 32, view, at);
  for (let i = 0; i < 32; i++) {
    let bits = 0;
    for (let sub = 0; sub < 8; sub++) bits |= (codes[sub * 32 + i]! >> 4) << sub;
    view.setUint8(at + 16 + i, bits);
  }
  putKNibbles(codes, view, at + 48);
}

export function encodeQ6K(values: Float32Array, view: DataView, at: number): void {
  const subScales = Array.from({ length: 16 }, (_, j) => {
    const sub = values.subarray(j * 16, j * 16 + 16);
    return sub.reduce((best, x) => (Math.abs(x) > Math.abs(best) ? x : best), 0) / -32;
  });
  const d = subScales.reduce((best, s) => (Math.abs(s) > Math.abs(best) ? s : best), 0) / -128;
  const scales = subScales.map((s) => (d === 0 ? 0 : clamp(Math.round(s / d), -128, 127)));
  const codes = Array.from(values, (x, i) => {
    const scale = roundToHalf(d) * scales[i >> 4]!;
    return scale === 0 ? 32 : clamp(Math.round(x / scale), -32, 31) + 32;
  });
  for (let i = 0; i < 64; i++) {
    // Byte i of a half holds elements i and i + 64; upper bits of elements i, i + 32, i + 64, i + 96 share a byte.
    for (let half = 0; half < 2; half++) {
      const code = (k: number) => codes[half * 128 + k]!;
      view.setUint8(at + half * 64 + i, (code(i) & 15) | ((code(i + 64) & 15) << 4));
      if (i >= 32) continue;
      const high = [0, 32, 64, 96].reduce((bits, k, quarter) => bits | ((code(i + k) >> 4) << (quarter * 2)), 0);
      view.setUint8(at + 128 + half * 32 + i, high);
    }
  }
  scales.forEach((scale, j) => {
    view.setInt8(at + 192 + j, scale);
  });
  view.setUint16(at + 208, floatToHalf(d), true);
}
