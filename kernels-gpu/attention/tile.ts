/**
 * The order of attention's sums, which decode and prefill keep alike so that a token gets the same bits from either:
 *
 *  - keys are cut by their position into tiles of 64, tiles into splits of 4;
 *  - within a split, tile after tile: m' = max(m, tile), o ← o · 2^(m − m') + Σ p·v key by key with fma, l likewise
 *    (online softmax: Milakov and Gimelshein 2018; FlashAttention: Dao et al. 2022);
 *  - splits are merged in order: the same fold, of (m, l, o) into (M, L, O) (Flash-Decoding: Dao et al. 2023).
 *
 * So how many workgroups share a sequence changes nothing, and neither does what a tile holds beyond a row's last key:
 * a masked key adds 0 · v with a finite v, which is nothing. Infinities never occur: `NEVER` stands for the maximum of no
 * keys, and a factor between equal maxima is 1 by definition.
 */
import { type KvShape, kvPlaceWgsl, paddedHead, unitComponents } from "./kv-layout.ts";

export const TILE_KEYS = 64;
/** At 8192 keys and 8 KV heads, one sequence is 256 workgroups: two for each processor of a large GPU. */
export const SPLIT_KEYS = 4 * TILE_KEYS;

export interface AttentionShape extends KvShape {
  numHeads: number;
  /** Keys that a token sees, itself included; 0 = all before it. */
  window: number;
}

export const FOLD_WGSL = /* wgsl */ `
const NEVER = -1e30;
// What a sum that was made against \`old\` counts against \`now\`, the larger one.
fn fade(old: f32, now: f32) -> f32 {
  if (old == now) { return 1.0; }
  return exp2(old - now);
}`;

/** WGSL `first_key(position)`: the first key that the token at a position sees. */
export function firstKeyWgsl({ window }: AttentionShape): string {
  const first = window === 0 ? "0u" : `select(0u, position + 1u - ${window}u, position + 1u > ${window}u)`;
  return /* wgsl */ `fn first_key(position: u32) -> u32 { return ${first}; }`;
}

/**
 * Loads from pages: `load_value(slot, head, d4)` a vec4 of a value, and `key_vec(unit, i)` vec4 i of a 16-byte unit of a key,
 * both times the slot's scale where there is one. Bindings: keys, values, scales.
 */
export function pageWgsl(shape: KvShape): string {
  const isHalf = shape.precision === "f16";
  return /* wgsl */ `
${kvPlaceWgsl(shape)}
${
  isHalf
    ? `fn load_value(slot: u32, head: u32, d4: u32) -> vec4<f32> {
  let words = values[value_component(slot, head) / 4u + d4];
  return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y));
}
fn key_vec(unit: vec4<u32>, i: u32, scale: f32) -> vec4<f32> {
  return vec4<f32>(unpack2x16float(unit[2u * i]), unpack2x16float(unit[2u * i + 1u]));
}
fn key_scale_of(slot: u32, head: u32) -> f32 { return 1.0; }`
    : `fn load_value(slot: u32, head: u32, d4: u32) -> vec4<f32> {
  let word = values[value_component(slot, head) / 4u + d4];
  return vec4<f32>(unpack4xI8(word)) * scales[key_scale(slot, head) + 1u];
}
fn key_vec(unit: vec4<u32>, i: u32, scale: f32) -> vec4<f32> {
  return vec4<f32>(unpack4xI8(unit[i])) * scale;
}
fn key_scale_of(slot: u32, head: u32) -> f32 { return scales[key_scale(slot, head)]; }`
}`;
}

/** vec4s in a 16-byte unit of a key. */
export const unitVecs = ({ precision }: KvShape): number => unitComponents(precision) / 4;

/** vec4s of a padded head. */
export const headVecs = ({ headDim }: KvShape): number => paddedHead(headDim) / 4;

/** WGSL type of one element of `values`: what holds four components. */
export const valueType = ({ precision }: KvShape): string => (precision === "f16" ? "array<vec2<u32>>" : "array<u32>");
