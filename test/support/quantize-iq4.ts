/**
 * IQ4_NL and IQ4_XS: four bits that choose from a codebook, with one scale for 32 elements. The element of largest
 * magnitude becomes −127, the codebook's wider side; every other takes the nearest entry.
 */
import { IQ4_CODEBOOK } from "../../src/model/dequantize.ts";
import { floatToHalf, roundToHalf } from "../../src/model/float16.ts";
import { clamp, extreme } from "./quantize-scales.ts";

const TOP = -127;

/** Index of the entry nearest to each value in units of `scale`; the one nearest to 0 when the scale is 0. */
function nearestCodes(values: Float32Array, scale: number): number[] {
  return Array.from(values, (value) => {
    const wanted = scale === 0 ? 0 : value / scale;
    const errors = IQ4_CODEBOOK.map((entry) => Math.abs(entry - wanted));
    return errors.indexOf(Math.min(...errors));
  });
}

/** First half of 32 low, second half high. */
function putNibbles(codes: number[], view: DataView, at: number): void {
  for (let i = 0; i < 16; i++) view.setUint8(at + i, codes[i]! | (codes[i + 16]! << 4));
}

export function encodeIQ4NL(values: Float32Array, view: DataView, at: number): void {
  const d = extreme(values) / TOP;
  view.setUint16(at, floatToHalf(d), true);
  putNibbles(nearestCodes(values, roundToHalf(d)), view, at + 2);
}

export function encodeIQ4XS(values: Float32Array, view: DataView, at: number): void {
  const subs = Array.from({ length: 8 }, (_, j) => values.subarray(j * 32, j * 32 + 32));
  const subScales = subs.map((sub) => extreme(sub) / TOP);
  const d = extreme(subScales) / -32;
  view.setUint16(at, floatToHalf(d), true);
  const scales = subScales.map((s) => (d === 0 ? 0 : clamp(Math.round(s / d), -32, 31)));
  const high = scales.reduce((bits, scale, j) => bits | (((scale + 32) >> 4) << (j * 2)), 0);
  view.setUint16(at + 2, high, true);
  for (let j = 0; j < 4; j++) {
    view.setUint8(at + 4 + j, ((scales[2 * j]! + 32) & 15) | (((scales[2 * j + 1]! + 32) & 15) << 4));
  }
  subs.forEach((sub, j) => {
    putNibbles(nearestCodes(sub, roundToHalf(d) * scales[j]!), view, at + 8 + j * 16);
  });
}
