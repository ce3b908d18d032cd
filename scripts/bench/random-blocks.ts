/**
 * Random weights as stored blocks: every bit random but the scales, which are set so that the weights have mean 0 and
 * the wanted deviation. Speed does not depend on the values, but a network that overflows to infinity would be no test.
 */

import { floatToBfloat, floatToHalf } from "../../src/model/float16.ts";
import { GGML_BLOCK, type GgmlTypeName } from "../../src/model/gguf.ts";

/**
 * f16 fields of a block: [byte, factor], the field is factor × deviation. Factors follow from the block formats of
 * ggml-common.h with uniform random codes: n levels have the deviation n/√12, a 6-bit scale a mean of 31.5.
 */
const HALF_FIELDS: Record<string, readonly (readonly [number, number])[]> = {
  Q4_0: [[0, 1 / 4.6]],
  Q4_1: [
    [0, 1 / 4.6],
    [2, -7.5 / 4.6],
  ],
  Q5_0: [[0, 1 / 9.2]],
  Q5_1: [
    [0, 1 / 9.2],
    [2, -15.5 / 9.2],
  ],
  Q8_0: [[0, 1 / 74]],
  Q2_K: [
    [80, 1 / (1.1 * 7.5)],
    [82, 1.5 / (1.1 * 7.5)],
  ],
  Q3_K: [[108, 1 / (2.3 * 18.5)]],
  Q4_K: [
    [0, 1 / (4.6 * 31.5)],
    [2, 7.5 / (4.6 * 31.5)],
  ],
  Q5_K: [
    [0, 1 / (9.2 * 31.5)],
    [2, 15.5 / (9.2 * 31.5)],
  ],
  Q6_K: [[208, 1 / (18.5 * 74)]],
  IQ4_NL: [[0, 1 / 70]],
  IQ4_XS: [[0, 1 / (70 * 18.5)]],
};

/** Whether `randomBlocks` knows where the scales of this type are. */
export function canBeRandom(type: GgmlTypeName): boolean {
  return GGML_BLOCK[type].elements === 1 || HALF_FIELDS[type] !== undefined;
}

/**
 * @param numElements whole blocks
 * @param uniform in [0, 1)
 */
export function randomBlocks(
  type: GgmlTypeName,
  numElements: number,
  deviation: number,
  uniform: () => number,
): Uint8Array<ArrayBuffer> {
  const { elements, bytes: blockBytes } = GGML_BLOCK[type];
  const bytes = new Uint8Array((numElements / elements) * blockBytes);
  if (elements === 1) {
    fillDense(type, bytes, deviation, uniform);
    return bytes;
  }
  const fields = HALF_FIELDS[type];
  if (fields === undefined) throw new Error(`Nothing is known about the scales of ${type}; add them to HALF_FIELDS.`);
  const words = new Uint32Array(bytes.buffer, 0, bytes.length >> 2);
  for (let i = 0; i < words.length; i++) words[i] = uniform() * 2 ** 32;
  const halves = fields.map(([at, factor]) => ({ at, bits: floatToHalf(factor * deviation) }));
  for (let block = 0; block < bytes.length; block += blockBytes) {
    for (const { at, bits } of halves) {
      bytes[block + at] = bits & 255;
      bytes[block + at + 1] = bits >> 8;
    }
  }
  return bytes;
}

function fillDense(type: GgmlTypeName, bytes: Uint8Array, deviation: number, uniform: () => number): void {
  const view = new DataView(bytes.buffer);
  const width = GGML_BLOCK[type].bytes;
  for (let at = 0; at < bytes.length; at += width) {
    const value = (uniform() - 0.5) * Math.sqrt(12) * deviation;
    if (type === "F32") view.setFloat32(at, value, true);
    else view.setUint16(at, type === "F16" ? floatToHalf(value) : floatToBfloat(value), true);
  }
}
