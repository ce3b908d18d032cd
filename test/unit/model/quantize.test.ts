import { describe, expect, it } from "vitest";
import { dequantize } from "../../../src/model/dequantize.ts";
import { bfloatToFloat, floatToBfloat, floatToHalf, halfToFloat, roundToHalf } from "../../../src/model/float16.ts";
import { GGML_BLOCK, type GgmlTypeName } from "../../../src/model/gguf.ts";
import { quantize } from "../../support/quantize.ts";
import { normalSource } from "../../support/random.ts";

const TYPES = Object.keys(GGML_BLOCK) as GgmlTypeName[];

/** Root mean square error of normal data, as a share of its deviation; a wrong nibble or scale is far above. */
const ERROR_MAX: Record<GgmlTypeName, number> = {
  F32: 0,
  F16: 3e-4,
  BF16: 3e-3,
  Q8_0: 0.007,
  Q6_K: 0.025,
  Q5_1: 0.042,
  Q5_0: 0.05,
  Q5_K: 0.045,
  Q4_1: 0.085,
  Q4_0: 0.1,
  Q4_K: 0.09,
  IQ4_NL: 0.09,
  IQ4_XS: 0.09,
  Q3_K: 0.17,
  Q2_K: 0.34,
};

describe("quantize and dequantize", () => {
  it.each(TYPES)("%s keeps normal data within its error", (type) => {
    const normal = normalSource(7);
    const values = Float32Array.from({ length: 256 * 64 }, () => normal());
    const back = dequantize(type, quantize(type, values));
    const meanSquare = values.reduce((sum, value, i) => sum + (value - back[i]!) ** 2, 0) / values.length;
    expect(Math.sqrt(meanSquare)).toBeLessThanOrEqual(ERROR_MAX[type]);
  });

  it.each(TYPES)("%s stores what it read back without change", (type) => {
    const normal = normalSource(8);
    const once = dequantize(
      type,
      quantize(
        type,
        Float32Array.from({ length: 512 }, () => normal()),
      ),
    );
    const twice = dequantize(type, quantize(type, once));
    const error = Math.max(...once.map((value, i) => Math.abs(value - twice[i]!)));
    // A K-quant may choose other sub-block scales the second time.
    expect(error).toBeLessThanOrEqual(type.endsWith("_K") ? 0.02 : 2e-3);
  });

  it.each(TYPES)("%s keeps zeros", (type) => {
    expect([...dequantize(type, quantize(type, new Float32Array(256)))].every((value) => value === 0)).toBe(true);
  });

  it("Q4_0: element of largest magnitude becomes code 0, low nibbles are elements 0 to 15", () => {
    const values = new Float32Array(32);
    values[0] = -8;
    values[16] = 7;
    const block = quantize("Q4_0", values);
    expect(halfToFloat(block[0]! | (block[1]! << 8))).toBe(1);
    expect(block[2]).toBe(0xf0);
    expect([...block.subarray(3)].every((byte) => byte === 0x88)).toBe(true);
  });

  it("Q2_K: 16 scales and mins, 64 bit pairs, then d and dmin", () => {
    // Sub-block 0 spans 0 … 45, sub-block 15 spans −15 … 0; the rest is 0.
    const values = new Float32Array(256);
    values.set([45, 30, 15]);
    values[255] = -15;
    const block = quantize("Q2_K", values);
    expect([...block.subarray(0, 16)]).toEqual([0x0f, ...Array(14).fill(0), 0xf5]);
    expect([...block.subarray(16, 20)]).toEqual([3, 2, 1, 0]);
    // Code 3 is the top of sub-block 15, where only the last element is at its min.
    expect([...block.subarray(64, 80)]).toEqual([...Array(15).fill(0xc0), 0]);
    expect([...block.subarray(80)]).toEqual([0x00, 0x3c, 0x00, 0x3c]);
    expect(Array.from(dequantize("Q2_K", block), (value) => value + 0)).toEqual([...values]);
  });

  it("Q3_K: 32 third bits, 64 bit pairs, 12 bytes of scales, then d", () => {
    const values = new Float32Array(256);
    values.fill(-4 * 32, 0, 16);
    values[255] = -4 * 16;
    const block = quantize("Q3_K", values);
    // Code 0 is −4: no third bit in the first sixteen, nor in the last element. Zeros are code 4.
    expect([...block.subarray(0, 32)]).toEqual([...Array(16).fill(0xfe), ...Array(15).fill(0xff), 0x7f]);
    expect([...block.subarray(32, 96)].every((byte) => byte === 0)).toBe(true);
    // Scales −32, 0 …, −16 are stored as 0, 32 …, 16: low nibbles all 0, pairs 0, 2 … and 1.
    expect([...block.subarray(96, 108)]).toEqual([...Array(8).fill(0), 0xa8, 0xaa, 0xaa, 0x6a]);
    expect(halfToFloat(block[108]! | (block[109]! << 8))).toBe(-1);
    expect(Array.from(dequantize("Q3_K", block), (value) => value + 0)).toEqual([...values]);
  });

  it("IQ4_XS: d, upper bits and low nibbles of the scales, then indices into the codebook", () => {
    const values = new Float32Array(256);
    values.fill(-127 * 32, 0, 32);
    values[16] = 113 * 32;
    values.fill(-127 * 17, 224);
    const block = quantize("IQ4_XS", values);
    expect([...block.subarray(0, 8)]).toEqual([0x00, 0xbc, 0xa8, 0x2a, 0x00, 0x00, 0x00, 0xf0]);
    expect([...block.subarray(8, 24)]).toEqual([0xf0, ...Array(15).fill(0)]);
    expect([...block.subarray(24, 40)]).toEqual(Array(16).fill(0x88));
    expect(Array.from(dequantize("IQ4_XS", block), (value) => value + 0)).toEqual([...values]);
  });

  it("Q6_K: 128 low nibbles, 64 upper bits, 16 scales, then d", () => {
    // Two sub-blocks of 16 at the ends hold −32·scale, the rest is 0.
    const values = new Float32Array(256);
    values.fill(-32, 0, 16);
    values.fill(-16, 240);
    const block = quantize("Q6_K", values);
    const scales = [...new Int8Array(block.buffer, 192, 16)];
    expect(scales).toEqual([-128, ...Array(14).fill(0), -64]);
    expect(halfToFloat(block[208]! | (block[209]! << 8))).toBe(-1 / 128);
    // The scale is negative, so zeros come back as −0.
    expect(Array.from(dequantize("Q6_K", block), (value) => value + 0)).toEqual([...values]);
  });
});

describe("half precision", () => {
  it("keeps every finite half", () => {
    for (let bits = 0; bits < 0x10000; bits++) {
      if (((bits >> 10) & 31) === 31) continue;
      expect(floatToHalf(halfToFloat(bits)), `bits ${bits}`).toBe(bits);
    }
  });

  it("rounds halfway cases to even, and what is too large to infinity", () => {
    expect(roundToHalf(1 + 1 / 2048)).toBe(1);
    expect(roundToHalf(1 + 3 / 2048)).toBe(1 + 2 / 1024);
    expect(roundToHalf(2 ** -25)).toBe(0);
    expect(roundToHalf(65519)).toBe(65504);
    expect(roundToHalf(65520)).toBe(Number.POSITIVE_INFINITY);
  });

  it("rounds bfloat16 to nearest even", () => {
    expect(bfloatToFloat(floatToBfloat(1 + 2 ** -8))).toBe(1);
    expect(bfloatToFloat(floatToBfloat(1 + 3 * 2 ** -8))).toBe(1 + 2 ** -6);
    expect(bfloatToFloat(floatToBfloat(-0.1))).toBeCloseTo(-0.1, 3);
  });
});
