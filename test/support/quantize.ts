/**
 * Numbers → stored weights, for every type an engine reads. The scale rules are ggml's reference ones (ggml-quants.c) without its
 * search for the best scale: test weights only have to be valid and near.
 */

import { floatToBfloat, floatToHalf } from "../../src/model/float16.ts";
import { GGML_BLOCK, type GgmlTypeName } from "../../src/model/gguf.ts";
import { encodeIQ4NL, encodeIQ4XS } from "./quantize-iq4.ts";
import { encodeQ2K, encodeQ3K, encodeQ4K, encodeQ5K, encodeQ6K } from "./quantize-k.ts";
import { clamp, extreme } from "./quantize-scales.ts";

/** One block: `values` are its elements, `at` its first byte. */
type BlockEncoder = (values: Float32Array, view: DataView, at: number) => void;

/** 32 codes under 16 (low four bits) as nibbles: first half low, second half high. */
function putNibbles(codes: number[], view: DataView, at: number): void {
  for (let i = 0; i < 16; i++) view.setUint8(at + i, (codes[i]! & 15) | ((codes[i + 16]! & 15) << 4));
}

function putFifthBits(codes: number[], view: DataView, at: number): void {
  let bits = 0;
  for (let i = 0; i < 32; i++) bits |= (codes[i]! >> 4) << i;
  view.setUint32(at, bits >>> 0, true);
}

/** Symmetric: the extreme element becomes −levels/2, so that the wider negative side is used. */
function symmetricCodes(values: Float32Array, levels: number): { d: number; codes: number[] } {
  const d = extreme(values) / -(levels / 2);
  const inverse = d === 0 ? 0 : 1 / d;
  const codes = Array.from(values, (x) => clamp(Math.trunc(x * inverse + levels / 2 + 0.5), 0, levels - 1));
  return { d, codes };
}

/** With a minimum: the range of the block in `levels` − 1 steps. */
function affineCodes(values: Float32Array, levels: number): { d: number; m: number; codes: number[] } {
  const m = Math.min(...values);
  const d = (Math.max(...values) - m) / (levels - 1);
  const inverse = d === 0 ? 0 : 1 / d;
  const codes = Array.from(values, (x) => clamp(Math.trunc((x - m) * inverse + 0.5), 0, levels - 1));
  return { d, m, codes };
}

const ENCODERS: Record<GgmlTypeName, BlockEncoder> = {
  F32: (values, view, at) => view.setFloat32(at, values[0]!, true),
  F16: (values, view, at) => view.setUint16(at, floatToHalf(values[0]!), true),
  BF16: (values, view, at) => view.setUint16(at, floatToBfloat(values[0]!), true),
  Q4_0: (values, view, at) => {
    const { d, codes } = symmetricCodes(values, 16);
    view.setUint16(at, floatToHalf(d), true);
    putNibbles(codes, view, at + 2);
  },
  Q4_1: (values, view, at) => {
    const { d, m, codes } = affineCodes(values, 16);
    view.setUint16(at, floatToHalf(d), true);
    view.setUint16(at + 2, floatToHalf(m), true);
    putNibbles(codes, view, at + 4);
  },
  Q5_0: (values, view, at) => {
    const { d, codes } = symmetricCodes(values, 32);
    view.setUint16(at, floatToHalf(d), true);
    putFifthBits(codes, view, at + 2);
    putNibbles(codes, view, at + 6);
  },
  Q5_1: (values, view, at) => {
    const { d, m, codes } = affineCodes(values, 32);
    view.setUint16(at, floatToHalf(d), true);
    view.setUint16(at + 2, floatToHalf(m), true);
    putFifthBits(codes, view, at + 4);
    putNibbles(codes, view, at + 8);
  },
  Q8_0: (values, view, at) => {
    const d = Math.abs(extreme(values)) / 127;
    view.setUint16(at, floatToHalf(d), true);
    for (let i = 0; i < 32; i++) view.setInt8(at + 2 + i, d === 0 ? 0 : clamp(Math.round(values[i]! / d), -127, 127));
  },
  Q2_K: encodeQ2K,
  Q3_K: encodeQ3K,
  Q4_K: encodeQ4K,
  Q5_K: encodeQ5K,
  Q6_K: encodeQ6K,
  IQ4_NL: encodeIQ4NL,
  IQ4_XS: encodeIQ4XS,
};

/** @param values whole blocks, row after row */
export function quantize(type: GgmlTypeName, values: Float32Array): Uint8Array<ArrayBuffer> {
  const block = GGML_BLOCK[type];
  const numBlocks = values.length / block.elements;
  if (!Number.isInteger(numBlocks)) throw new Error(`${values.length} values are no whole ${type} blocks`);
  const bytes = new Uint8Array(numBlocks * block.bytes);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < numBlocks; i++) {
    const part = values.subarray(i * block.elements, (i + 1) * block.elements);
    ENCODERS[type](part, view, i * block.bytes);
  }
  return bytes;
}
