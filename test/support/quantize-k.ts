/**
 * The K-quants: 256 elements with scales that are themselves quantized. Codes are chosen against the scales as they
 * will be read back, so that a coarse scale costs as little as it can.
 */
import { floatToHalf, roundToHalf } from "../../src/model/float16.ts";
import { clamp, extreme } from "./quantize-scales.ts";

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

/** Largest code, elements of a sub-block, and largest scale and min of one. */
interface AffineShape {
  codeMax: number;
  subElements: number;
  scaleMax: number;
}

/** Values are d·scale·code − dmin·min. */
function affine(values: Float32Array, { codeMax, subElements, scaleMax }: AffineShape) {
  const ranges = Array.from({ length: values.length / subElements }, (_, j) => {
    const sub = values.subarray(j * subElements, (j + 1) * subElements);
    const min = Math.min(0, ...sub);
    return { scale: (Math.max(...sub) - min) / codeMax, min: -min };
  });
  const d = Math.max(...ranges.map((range) => Math.max(range.scale, 0))) / scaleMax;
  const dmin = Math.max(...ranges.map((range) => range.min)) / scaleMax;
  const scales = ranges.map((range) => (d > 0 ? clamp(Math.round(range.scale / d), 0, scaleMax) : 0));
  const mins = ranges.map((range) => (dmin > 0 ? clamp(Math.round(range.min / dmin), 0, scaleMax) : 0));
  const codes = Array.from(values, (x, i) => {
    const j = Math.floor(i / subElements);
    const scale = roundToHalf(d) * scales[j]!;
    return scale === 0 ? 0 : clamp(Math.round((x + roundToHalf(dmin) * mins[j]!) / scale), 0, codeMax);
  });
  return { d, dmin, scales, mins, codes };
}

/** Values are d·scale·(code − levels / 2), a scale of −scaleLevels / 2 … scaleLevels / 2 − 1 for each 16. */
function symmetric(values: Float32Array, levels: number, scaleLevels: number) {
  const [top, scaleTop] = [levels / 2, scaleLevels / 2];
  const subScales = Array.from({ length: 16 }, (_, j) => extreme(values.subarray(j * 16, j * 16 + 16)) / -top);
  const d = extreme(subScales) / -scaleTop;
  const scales = subScales.map((s) => (d === 0 ? 0 : clamp(Math.round(s / d), -scaleTop, scaleTop - 1)));
  const codes = Array.from(values, (x, i) => {
    const scale = roundToHalf(d) * scales[i >> 4]!;
    return scale === 0 ? top : clamp(Math.round(x / scale), -top, top - 1) + top;
  });
  return { d, scales, codes };
}

/** Lowest two bits: of every 128 elements, i, i + 32, i + 64 and i + 96 share a byte. */
function putBitPairs(codes: number[], view: DataView, at: number): void {
  for (let i = 0; i < 64; i++) {
    const first = (i >> 5) * 128 + (i & 31);
    const bits = [0, 1, 2, 3].reduce((sum, quarter) => sum | ((codes[first + quarter * 32]! & 3) << (quarter * 2)), 0);
    view.setUint8(at + i, bits);
  }
}

/** Lowest bit: bit j of byte i is that of element i of the j-th 32. */
function putSingleBits(codes: number[], view: DataView, at: number): void {
  for (let i = 0; i < 32; i++) {
    let bits = 0;
    for (let sub = 0; sub < 8; sub++) bits |= (codes[sub * 32 + i]! & 1) << sub;
    view.setUint8(at + i, bits);
  }
}

/** Four bits each: of every 64 elements the first 32 are low nibbles, the next 32 high ones. */
function putKNibbles(codes: number[], view: DataView, at: number): void {
  for (let i = 0; i < 128; i++) {
    const first = (i >> 5) * 64 + (i & 31);
    view.setUint8(at + i, (codes[first]! & 15) | ((codes[first + 32]! & 15) << 4));
  }
}

export function encodeQ2K(values: Float32Array, view: DataView, at: number): void {
  const { d, dmin, scales, mins, codes } = affine(values, { codeMax: 3, subElements: 16, scaleMax: 15 });
  scales.forEach((scale, j) => {
    view.setUint8(at + j, scale | (mins[j]! << 4));
  });
  putBitPairs(codes, view, at + 16);
  view.setUint16(at + 80, floatToHalf(d), true);
  view.setUint16(at + 82, floatToHalf(dmin), true);
}

export function encodeQ3K(values: Float32Array, view: DataView, at: number): void {
  const { d, scales, codes } = symmetric(values, 8, 64);
  putSingleBits(
    codes.map((code) => code >> 2),
    view,
    at,
  );
  putBitPairs(codes, view, at + 32);
  const unsigned = scales.map((scale) => scale + 32);
  for (let j = 0; j < 8; j++) view.setUint8(at + 96 + j, (unsigned[j]! & 15) | ((unsigned[j + 8]! & 15) << 4));
  for (let j = 0; j < 4; j++) {
    const high = [0, 1, 2, 3].reduce((bits, part) => bits | ((unsigned[j + part * 4]! >> 4) << (part * 2)), 0);
    view.setUint8(at + 104 + j, high);
  }
  view.setUint16(at + 108, floatToHalf(d), true);
}

/** Header of Q4_K and Q5_K (d, dmin, scales, mins). @returns the codes that go with it */
function putAffineHeader(values: Float32Array, codeMax: number, view: DataView, at: number): number[] {
  const { d, dmin, scales, mins, codes } = affine(values, { codeMax, subElements: 32, scaleMax: 63 });
  view.setUint16(at, floatToHalf(d), true);
  view.setUint16(at + 2, floatToHalf(dmin), true);
  putScalesAndMins(scales, mins, view, at + 4);
  return codes;
}

export function encodeQ4K(values: Float32Array, view: DataView, at: number): void {
  putKNibbles(putAffineHeader(values, 15, view, at), view, at + 16);
}

export function encodeQ5K(values: Float32Array, view: DataView, at: number): void {
  const codes = putAffineHeader(values, 31, view, at);
  putSingleBits(
    codes.map((code) => code >> 4),
    view,
    at + 16,
  );
  putKNibbles(codes, view, at + 48);
}

export function encodeQ6K(values: Float32Array, view: DataView, at: number): void {
  const { d, scales, codes } = symmetric(values, 64, 256);
  for (let i = 0; i < 128; i++) {
    // Byte i of each 64 holds the low nibbles of elements i and i + 64 of each 128.
    const first = (i >> 6) * 128 + (i & 63);
    view.setUint8(at + i, (codes[first]! & 15) | ((codes[first + 64]! & 15) << 4));
  }
  putBitPairs(
    codes.map((code) => code >> 4),
    view,
    at + 128,
  );
  scales.forEach((scale, j) => {
    view.setInt8(at + 192 + j, scale);
  });
  view.setUint16(at + 208, floatToHalf(d), true);
}
