/**
 * Paged attention of single tokens, split over the context (Flash-Decoding over the pages of Kwon et al. 2023). A
 * workgroup takes one split of one token for one KV head; the query heads that share that head share its loads. What it
 * has summed goes to `partials`, for `merge.ts`.
 *
 * 64 threads: first a thread for each key of the tile (a key's components lie 16 bytes beside its neighbour's), then a
 * thread for each four components of the values. No more than `keys` slots are ever read, so that what lies behind a
 * sequence's end may be anything, also NaN.
 *
 * v1: scores and maxima meet in workgroup memory.
 */
import { defineKernel, type Kernel, read, readWrite, repeat } from "../kernel.ts";
import { DOT4_WGSL } from "../matmul/matmul.ts";
import { checkKvShape } from "./kv-layout.ts";
import {
  type AttentionShape,
  FOLD_WGSL,
  firstKeyWgsl,
  headVecs,
  pageWgsl,
  SPLIT_KEYS,
  TILE_KEYS,
  unitVecs,
  valueType,
} from "./tile.ts";

/**
 * `items`: (row, start of its block table in `tables`, its position, split). `q`: [row][head][padded head] as `rope-kv.ts`
 * leaves it. `partials`: [item][head][padded head], `maxima`: [item][head] (m, l).
 */
export type DecodeBinding = "items" | "tables" | "q" | "keys" | "values" | "scales" | "partials" | "maxima";

/** Dispatch (items, numKvHeads). */
export function decodeAttention(shape: AttentionShape): Kernel<DecodeBinding> {
  checkKvShape(shape);
  const { numHeads, numKvHeads, headDim, blockTokens, precision } = shape;
  const group = numHeads / numKvHeads;
  const vecs = headVecs(shape);
  // Threads that share a vec4 of the values, for different heads of the group.
  const sharers = Math.min(group, Math.max(1, Math.floor(TILE_KEYS / vecs)));
  const headsEach = Math.ceil(group / sharers);
  const forGroup = (body: string) => repeat("g", group, body);
  const forOwn = (body: string) =>
    repeat("i", headsEach, `let g = sharer + i * ${sharers}u; if (g < ${group}u) { ${body} }`);

  return defineKernel({
    name: `decode-attention v1 ${numHeads}/${numKvHeads}x${headDim} ${precision}`,
    bindings: {
      items: read("array<vec4<u32>>"),
      tables: read("array<u32>"),
      q: read("array<vec4<f32>>"),
      keys: read("array<vec4<u32>>"),
      values: read(valueType(shape)),
      scales: read("array<f32>"),
      partials: readWrite("array<vec4<f32>>"),
      maxima: readWrite("array<vec2<f32>>"),
    },
    body: /* wgsl */ `
${pageWgsl(shape)}
${DOT4_WGSL}
${FOLD_WGSL}
${firstKeyWgsl(shape)}
var<workgroup> query: array<vec4<f32>, ${group * vecs}>;
var<workgroup> weights: array<f32, ${group * TILE_KEYS}>;
var<workgroup> tops: array<f32, ${group * TILE_KEYS}>;
var<workgroup> slots: array<u32, ${TILE_KEYS}>;

@compute @workgroup_size(${TILE_KEYS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let item = items[workgroup.x];
  let head = workgroup.y;
  let position = item.z;
  let num_keys = position + 1u;
  let start = first_key(position);
  for (var i = index; i < ${group * vecs}u; i += ${TILE_KEYS}u) {
    query[i] = q[(item.x * ${numKvHeads}u + head) * ${group * vecs}u + i];
  }
  let d4 = index % ${vecs}u;
  let sharer = index / ${vecs}u;
  let sums_values = sharer < ${sharers}u;
  var top: array<f32, ${group}>;
  ${forGroup("top[g] = NEVER;")}
  var sum: array<vec4<f32>, ${headsEach}>;
  var mass: array<f32, ${headsEach}>;

  let end = min(num_keys, (item.w + 1u) * ${SPLIT_KEYS}u);
  let first_tile = max(start, item.w * ${SPLIT_KEYS}u) / ${TILE_KEYS}u;
  for (var tile = first_tile * ${TILE_KEYS}u; tile < end; tile += ${TILE_KEYS}u) {
    let key = tile + index;
    let sees = key >= start && key < end;
    workgroupBarrier();
    var score: array<f32, ${group}>;
    ${forGroup("score[g] = 0.0;")}
    slots[index] = 0u;
    if (sees) {
      let slot = tables[item.y + key / ${blockTokens}u] * ${blockTokens}u + key % ${blockTokens}u;
      slots[index] = slot;
      let scale = key_scale_of(slot, head);
      for (var unit = 0u; unit < ${vecs / unitVecs(shape)}u; unit++) {
        let words = keys[key_unit(slot, head, unit)];
        ${repeat(
          "v",
          unitVecs(shape),
          `let k = key_vec(words, v, scale);
          ${forGroup(`score[g] = dot4(query[g * ${vecs}u + unit * ${unitVecs(shape)}u + v], k, score[g]);`)}`,
        )}
      }
    }
    ${forGroup(`if (!sees) { score[g] = NEVER; } tops[g * ${TILE_KEYS}u + index] = score[g];`)}
    workgroupBarrier();
    for (var stride = ${TILE_KEYS / 2}u; stride > 0u; stride /= 2u) {
      if (index < stride) {
        for (var g = 0u; g < ${group}u; g++) {
          let at = g * ${TILE_KEYS}u + index;
          tops[at] = max(tops[at], tops[at + stride]);
        }
      }
      workgroupBarrier();
    }
    var before: array<f32, ${group}>;
    ${forGroup(`before[g] = top[g]; top[g] = max(top[g], tops[g * ${TILE_KEYS}u]);
      weights[g * ${TILE_KEYS}u + index] = select(0.0, exp2(score[g] - top[g]), sees);`)}
    workgroupBarrier();
    if (sums_values) {
      ${forOwn(
        `let fading = fade(before[g], top[g]); sum[i] *= fading; mass[i] = fma(mass[i], fading, weights[g * ${TILE_KEYS}u]);`,
      )}
      for (var j = 0u; j < min(${TILE_KEYS}u, end - tile); j++) {
        var value = vec4<f32>();
        if (tile + j >= start) { value = load_value(slots[j], head, d4); }
        ${forOwn(`let p = weights[g * ${TILE_KEYS}u + j]; sum[i] = fma(vec4<f32>(p), value, sum[i]); if (j > 0u) { mass[i] += p; }`)}
      }
    }
  }
  let to = (workgroup.x * ${numKvHeads}u + head) * ${group}u;
  if (sums_values) {
    ${forOwn(`partials[(to + g) * ${vecs}u + d4] = sum[i]; if (d4 == 0u) { maxima[to + g] = vec2<f32>(top[g], mass[i]); }`)}
  }
}`,
  });
}
