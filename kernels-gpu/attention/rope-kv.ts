/**
 * What lies between the q/k/v product and attention, in one dispatch: norm of each head, rotation (RoPE, Su et al. 2021),
 * queries scaled and put aside, keys and values into their pages (f16, or int8 with a scale for each token and head).
 *
 * Cosines and sines come from a table made in float64: WGSL promises 11 bits of them only. Queries are scaled by
 * attentionScale · log2 e, so that attention needs `exp2` alone. Halves are kept within ±65504: an infinity in a page would
 * spoil every later token.
 *
 * v1: a workgroup of 64 for each head of each token.
 */
import { checkSize, defineKernel, type Kernel, read, readWrite } from "../kernel.ts";
import { reduceCall, reduceWgsl, type Subgroups, subgroupDirectives, subgroupParameters } from "../reduce.ts";
import { checkKvShape, type KvShape, kvPlaceWgsl, paddedHead } from "./kv-layout.ts";

export interface RopeKvShape extends KvShape, Subgroups {
  numHeads: number;
  /** null: nothing is rotated. */
  rope: { numDims: number; pairing: "interleaved" | "half-split" } | null;
  hasHeadNorms: boolean;
  normEpsilon: number;
  attentionScale: number;
}

/**
 * `qkv`: [token][q heads, k heads, v heads][headDim]. `places`: (position, slot) of each token, slot = block · B + place in it.
 * `table`: [position][numDims / 2] (cos, sin). `q`: [token][numHeads][padded head].
 */
export type RopeKvBinding = "qkv" | "qNorm" | "kNorm" | "table" | "places" | "q" | "keys" | "values" | "scales";

const THREADS = 64;
const HALF_MAX = 65504;

/** Dispatch (numHeads + 2 · numKvHeads, tokens). */
export function ropeKv(shape: RopeKvShape): Kernel<RopeKvBinding> {
  checkKvShape(shape);
  const { numHeads, numKvHeads, headDim, rope, hasHeadNorms, attentionScale, precision } = shape;
  checkSize("query heads", numHeads, numKvHeads);
  const padded = paddedHead(headDim);
  const loop = (limit: number, body: string) => `for (var i = index; i < ${limit}u; i += ${THREADS}u) { ${body} }`;
  return defineKernel({
    name: `rope-kv v1 ${numHeads}/${numKvHeads}x${headDim} ${precision}`,
    directives: subgroupDirectives(shape),
    bindings: {
      qkv: read("array<f32>"),
      qNorm: read("array<f32>"),
      kNorm: read("array<f32>"),
      table: read("array<vec2<f32>>"),
      places: read("array<vec2<u32>>"),
      q: readWrite("array<f32>"),
      keys: readWrite("array<u32>"),
      values: readWrite("array<u32>"),
      scales: readWrite("array<f32>"),
    },
    body: /* wgsl */ `
${reduceWgsl(shape, "sum", THREADS)}
${precision === "int8" ? reduceWgsl(shape, "max", THREADS) : ""}
${kvPlaceWgsl(shape)}
const NUM_HEADS = ${numHeads}u;
const NUM_KV_HEADS = ${numKvHeads}u;
var<workgroup> source: array<f32, ${padded}>;
var<workgroup> turned: array<f32, ${padded}>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32${subgroupParameters(shape)}) {
  let head = workgroup.x;
  let token = workgroup.y;
  let is_query = head < NUM_HEADS;
  let is_value = head >= NUM_HEADS + NUM_KV_HEADS;
  let place = places[token];
  let first = (token * ${numHeads + 2 * numKvHeads}u + head) * ${headDim}u;
  ${loop(padded, `source[i] = 0.0; if (i < ${headDim}u) { source[i] = qkv[first + i]; }`)}
  ${hasHeadNorms ? normHeads(shape, loop) : ""}
  workgroupBarrier();
  ${loop(padded, "turned[i] = source[i];")}
  workgroupBarrier();
  ${rope === null ? "" : `if (!is_value) { ${rotate(rope, loop)} }\n  workgroupBarrier();`}
  if (is_query) {
    ${loop(padded, `q[(token * NUM_HEADS + head) * ${padded}u + i] = turned[i] * ${attentionScale * Math.LOG2E};`)}
  }
  let kv_head = (head - NUM_HEADS) % NUM_KV_HEADS;
  ${precision === "f16" ? storeHalves(padded, loop) : storeBytes(shape, padded, loop)}
}`,
  });

  function normHeads({ normEpsilon: epsilon }: RopeKvShape, each: typeof loop): string {
    return /* wgsl */ `
  var own = 0.0;
  ${each(headDim, "own += source[i] * source[i];")}
  let scale = 1.0 / sqrt(${reduceCall(shape, "sum", "own")} / ${headDim}.0 + ${epsilon});
  if (!is_value) { ${each(headDim, "source[i] *= scale * select(kNorm[i], qNorm[i], is_query);")} }`;
  }
}

type Loop = (limit: number, body: string) => string;

function rotate({ numDims, pairing }: NonNullable<RopeKvShape["rope"]>, loop: Loop): string {
  const half = numDims / 2;
  const pair = pairing === "interleaved" ? "let a = 2u * i; let b = a + 1u;" : `let a = i; let b = i + ${half}u;`;
  return loop(
    half,
    `${pair} let t = table[place.x * ${half}u + i];
      turned[a] = source[a] * t.x - source[b] * t.y; turned[b] = source[a] * t.y + source[b] * t.x;`,
  );
}

function storeHalves(padded: number, loop: Loop): string {
  const word = `pack2x16float(clamp(vec2<f32>(turned[2u * i], turned[2u * i + 1u]), vec2<f32>(-${HALF_MAX}.0), vec2<f32>(${HALF_MAX}.0)))`;
  return /* wgsl */ `
  if (is_query) { return; }
  if (is_value) {
    ${loop(padded / 2, `values[value_component(place.y, kv_head) / 2u + i] = ${word};`)}
  } else {
    ${loop(padded / 2, `keys[key_unit(place.y, kv_head, i / 4u) * 4u + i % 4u] = ${word};`)}
  }`;
}

function storeBytes(shape: RopeKvShape, padded: number, loop: Loop): string {
  const word =
    "pack4xI8(vec4<i32>(round(vec4<f32>(turned[4u * i], turned[4u * i + 1u], turned[4u * i + 2u], turned[4u * i + 3u]) * inverse)))";
  return /* wgsl */ `
  var largest = 0.0;
  ${loop(padded, "largest = max(largest, abs(turned[i]));")}
  let amax = ${reduceCall(shape, "max", "largest")};
  if (is_query) { return; }
  let inverse = select(127.0 / amax, 0.0, amax == 0.0);
  let scale_at = key_scale(place.y, kv_head) + select(0u, 1u, is_value);
  if (index == 0u) { scales[scale_at] = amax / 127.0; }
  if (is_value) {
    ${loop(padded / 4, `values[value_component(place.y, kv_head) / 4u + i] = ${word};`)}
  } else {
    ${loop(padded / 4, `keys[key_unit(place.y, kv_head, i / 4u) * 4u + i % 4u] = ${word};`)}
  }`;
}

/** The table for `ropeKv`. @param factors divisors of the frequencies, numDims / 2 of them @returns [position][numDims / 2][cos, sin] */
export function ropeTable(
  rope: { base: number; numDims: number; linearScale: number; magnitude: number },
  factors: ArrayLike<number> | null,
  numPositions: number,
): Float32Array<ArrayBuffer> {
  const half = rope.numDims / 2;
  const table = new Float32Array(numPositions * rope.numDims);
  for (let i = 0; i < half; i++) {
    const frequency = rope.base ** ((-2 * i) / rope.numDims) / (factors === null ? 1 : factors[i]!) / rope.linearScale;
    for (let position = 0; position < numPositions; position++) {
      const at = (position * half + i) * 2;
      table[at] = rope.magnitude * Math.cos(position * frequency);
      table[at + 1] = rope.magnitude * Math.sin(position * frequency);
    }
  }
  return table;
}
