/**
 * Where keys and values lie in the pages of one layer. A page is a KV block: `blockTokens` slots of every KV head. Both
 * orders make neighbouring threads read neighbouring 16 (or 8) bytes:
 *
 *  - keys:   [block][head][16-byte unit of the head][slot][unit], since neighbouring threads take neighbouring slots;
 *  - values: [block][head][slot][component], since they take neighbouring components of one slot;
 *  - scales: [block][head][slot][key, value] f32, of int8 pages.
 *
 * A head is padded with zeros to a multiple of 16 components. What one head of a block holds is one piece of memory.
 */
import { checkSize } from "../kernel.ts";

export type KvPrecision = "f16" | "int8";

export interface KvShape {
  numKvHeads: number;
  headDim: number;
  /** Slots of a block. */
  blockTokens: number;
  precision: KvPrecision;
}

/** A workgroup of 64 threads takes four components each. */
export const HEAD_DIM_MAX = 256;

export const paddedHead = (headDim: number): number => Math.ceil(headDim / 16) * 16;

/** Components in 16 bytes. */
export const unitComponents = (precision: KvPrecision): number => (precision === "f16" ? 8 : 16);

/** Bytes of one block's keys (or values) in one layer. */
export function kvBlockBytes({ numKvHeads, headDim, blockTokens, precision }: KvShape): number {
  return numKvHeads * blockTokens * paddedHead(headDim) * (precision === "f16" ? 2 : 1);
}

/** Bytes of one block's scales in one layer; f16 pages have none. */
export function scaleBlockBytes({ numKvHeads, blockTokens, precision }: KvShape): number {
  return precision === "int8" ? numKvHeads * blockTokens * 2 * 4 : 0;
}

/** Bytes of all that one layer keeps of a block. */
export const layerBlockBytes = (shape: KvShape): number => 2 * kvBlockBytes(shape) + scaleBlockBytes(shape);

export function checkKvShape({ numKvHeads, headDim, blockTokens }: KvShape): void {
  checkSize("KV heads", numKvHeads);
  checkSize("a head's size", headDim, 4);
  if (headDim > HEAD_DIM_MAX)
    throw new RangeError(`A head has ${headDim} components; attention takes at most ${HEAD_DIM_MAX}.`);
  checkSize("slots of a KV block", blockTokens);
}

/** WGSL: index of a vec4<u32> unit of keys, of a component of values, and of the scale of a key. `slot` = block · B + i. */
export function kvPlaceWgsl({ numKvHeads, headDim, blockTokens, precision }: KvShape): string {
  const padded = paddedHead(headDim);
  const units = padded / unitComponents(precision);
  return /* wgsl */ `
fn head_of_block(slot: u32, head: u32) -> u32 { return (slot / ${blockTokens}u) * ${numKvHeads}u + head; }
fn key_unit(slot: u32, head: u32, unit: u32) -> u32 {
  return (head_of_block(slot, head) * ${units}u + unit) * ${blockTokens}u + slot % ${blockTokens}u;
}
fn value_component(slot: u32, head: u32) -> u32 {
  return (head_of_block(slot, head) * ${blockTokens}u + slot % ${blockTokens}u) * ${padded}u;
}
fn key_scale(slot: u32, head: u32) -> u32 {
  return (head_of_block(slot, head) * ${blockTokens}u + slot % ${blockTokens}u) * 2u;
}`;
}
