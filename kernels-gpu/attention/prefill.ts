/**
 * Paged attention of runs of tokens: prompts of any lengths, packed without padding. A workgroup takes a tile of 32 query
 * rows (a few tokens × the query heads that share a KV head) and walks the pages once for all of them, with an online
 * softmax; splits are folded into a second accumulator as `merge.ts` would fold them. A row sees keys up to its own
 * position, whatever its tile walks over.
 *
 * 128 threads. Scores: 4 rows × 4 keys a thread, over keys and queries in workgroup memory, 16 components at a time.
 * Values: 4 rows × (padded head / 16) components a thread, straight from the pages.
 *
 * v1.
 */
import { defineKernel, type Kernel, read, readWrite, repeat } from "../kernel.ts";
import { laneVec4Wgsl, numChunks } from "../lanes.ts";
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

const TILE_ROWS = 32;
const THREADS = 128;
/** vec4s of a head that are in workgroup memory at a time. */
const STAGE_VECS = 4;

/**
 * `items`: (first row, rows, start of the block table in `tables`, position of the first row), at most `prefillTokens` rows.
 * `q` as in `decode.ts`; `y`: lane-major rows of numHeads · headDim.
 */
export type PrefillBinding = "items" | "tables" | "q" | "keys" | "values" | "scales" | "y";

/** Tokens of a tile. */
export function prefillTokens({ numHeads, numKvHeads }: AttentionShape): number {
  return Math.floor((TILE_ROWS * numKvHeads) / numHeads);
}

/** Dispatch (items, numKvHeads). @throws RangeError for more than 32 query heads a KV head */
export function prefillAttention(shape: AttentionShape): Kernel<PrefillBinding> {
  checkKvShape(shape);
  const { numHeads, numKvHeads, headDim, blockTokens, precision } = shape;
  const group = numHeads / numKvHeads;
  if (group > TILE_ROWS) throw new RangeError(`${group} query heads share a KV head; at most ${TILE_ROWS} may.`);
  const vecs = headVecs(shape);
  const vecsEach = Math.ceil(vecs / 16);
  const unitsStaged = STAGE_VECS / unitVecs(shape);
  const forRows = (body: string) => repeat("r", 4, body);
  const forVecs = (body: string) => repeat("c", vecsEach, `let d4 = lane + 16u * c; if (d4 < ${vecs}u) { ${body} }`);

  return defineKernel({
    name: `prefill-attention v1 ${numHeads}/${numKvHeads}x${headDim} ${precision}`,
    bindings: {
      items: read("array<vec4<u32>>"),
      tables: read("array<u32>"),
      q: read("array<vec4<f32>>"),
      keys: read("array<vec4<u32>>"),
      values: read(valueType(shape)),
      scales: read("array<f32>"),
      y: readWrite("array<vec4<f32>>"),
    },
    body: /* wgsl */ `
${pageWgsl(shape)}
${DOT4_WGSL}
${FOLD_WGSL}
${firstKeyWgsl(shape)}
${laneVec4Wgsl(numHeads * headDim)}
var<workgroup> stage_k: array<vec4<f32>, ${STAGE_VECS * TILE_KEYS}>;
var<workgroup> stage_q: array<vec4<f32>, ${STAGE_VECS * TILE_ROWS}>;
var<workgroup> weights: array<f32, ${TILE_ROWS * TILE_KEYS}>;
var<workgroup> slots: array<u32, ${TILE_KEYS}>;
var<workgroup> parts: array<f32, ${TILE_ROWS * 4}>;
// Of each row: the largest score of the split, and what earlier sums count against it.
var<workgroup> tops: array<f32, ${TILE_ROWS}>;
var<workgroup> fadings: array<f32, ${TILE_ROWS}>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let item = items[workgroup.x];
  let head = workgroup.y;
  let num_rows = item.y * ${group}u;
  let lane = index % 16u;
  let row_0 = (index / 16u) * 4u;
  let tile_start = first_key(item.w);
  let end = item.w + item.y;
  // The part of a row that this thread softmaxes: 16 keys.
  let soft_row = index / 4u;
  let soft_key = (index % 4u) * 16u;
  let soft_position = item.w + soft_row / ${group}u;
  let soft_start = first_key(soft_position);

  var sum: array<vec4<f32>, ${4 * vecsEach}>;
  var mass: array<f32, 4>;
  var all_sum: array<vec4<f32>, ${4 * vecsEach}>;
  var all_mass: array<f32, 4>;
  var all_top: array<f32, 4>;
  ${forRows("all_top[r] = NEVER;")}
  if (index < ${TILE_ROWS}u) { tops[index] = NEVER; }

  for (var tile = (tile_start / ${TILE_KEYS}u) * ${TILE_KEYS}u; tile < end; tile += ${TILE_KEYS}u) {
    workgroupBarrier();
    if (index < ${TILE_KEYS}u) {
      let key = min(tile + index, end - 1u);
      slots[index] = tables[item.z + key / ${blockTokens}u] * ${blockTokens}u + key % ${blockTokens}u;
    }
    var score: array<f32, 16>;
    ${repeat("i", 16, "score[i] = 0.0;")}
    for (var stage = 0u; stage < ${vecs / STAGE_VECS}u; stage++) {
      workgroupBarrier();
      for (var i = index; i < ${unitsStaged * TILE_KEYS}u; i += ${THREADS}u) {
        let place = i % ${TILE_KEYS}u;
        let unit = i / ${TILE_KEYS}u;
        let slot = slots[place];
        let reads = tile + place >= tile_start && tile + place < end;
        var words = vec4<u32>();
        var scale = 0.0;
        if (reads) {
          words = keys[key_unit(slot, head, stage * ${unitsStaged}u + unit)];
          scale = key_scale_of(slot, head);
        }
        ${repeat("v", unitVecs(shape), `stage_k[(unit * ${unitVecs(shape)}u + v) * ${TILE_KEYS}u + place] = key_vec(words, v, scale);`)}
      }
      for (var i = index; i < ${STAGE_VECS * TILE_ROWS}u; i += ${THREADS}u) {
        let row = min(i % ${TILE_ROWS}u, num_rows - 1u);
        let source = ((item.x + row / ${group}u) * ${numKvHeads}u + head) * ${group}u + row % ${group}u;
        stage_q[i] = q[source * ${vecs}u + stage * ${STAGE_VECS}u + i / ${TILE_ROWS}u];
      }
      workgroupBarrier();
      ${repeat(
        "j",
        STAGE_VECS,
        repeat(
          "n",
          4,
          `let k = stage_k[j * ${TILE_KEYS}u + lane + 16u * n];
          ${forRows(`score[4u * r + n] = dot4(stage_q[j * ${TILE_ROWS}u + row_0 + r], k, score[4u * r + n]);`)}`,
        ),
      )}
    }
    ${forRows(repeat("n", 4, `weights[(row_0 + r) * ${TILE_KEYS}u + lane + 16u * n] = score[4u * r + n];`))}
    workgroupBarrier();

    var part = NEVER;
    for (var i = 0u; i < 16u; i++) {
      let key = tile + soft_key + i;
      let sees = key >= soft_start && key <= soft_position;
      part = select(part, max(part, weights[soft_row * ${TILE_KEYS}u + soft_key + i]), sees);
    }
    parts[index] = part;
    let before = tops[soft_row];
    workgroupBarrier();
    let at = soft_row * 4u;
    let top = max(before, max(max(parts[at], parts[at + 1u]), max(parts[at + 2u], parts[at + 3u])));
    for (var i = 0u; i < 16u; i++) {
      let key = tile + soft_key + i;
      let sees = key >= soft_start && key <= soft_position;
      let w = soft_row * ${TILE_KEYS}u + soft_key + i;
      weights[w] = select(0.0, exp2(weights[w] - top), sees);
    }
    if (index % 4u == 0u) {
      tops[soft_row] = top;
      fadings[soft_row] = fade(before, top);
    }
    workgroupBarrier();

    ${forRows(`let fading = fadings[row_0 + r];
      mass[r] = fma(mass[r], fading, weights[(row_0 + r) * ${TILE_KEYS}u]);
      ${repeat("c", vecsEach, `sum[r * ${vecsEach}u + c] *= fading;`)}`)}
    for (var j = 0u; j < min(${TILE_KEYS}u, end - tile); j++) {
      var p: array<f32, 4>;
      ${forRows(`p[r] = weights[(row_0 + r) * ${TILE_KEYS}u + j]; if (j > 0u) { mass[r] += p[r]; }`)}
      ${forVecs(`var value = vec4<f32>();
        if (tile + j >= tile_start) { value = load_value(slots[j], head, d4); }
        ${forRows(`sum[r * ${vecsEach}u + c] = fma(vec4<f32>(p[r]), value, sum[r * ${vecsEach}u + c]);`)}`)}
    }

    // The end of a split, or of all.
    if ((tile + ${TILE_KEYS}u) % ${SPLIT_KEYS}u == 0u || tile + ${TILE_KEYS}u >= end) {
      ${forRows(`let split_top = tops[row_0 + r];
        let now = max(all_top[r], split_top);
        let old = fade(all_top[r], now);
        let fresh = fade(split_top, now);
        ${repeat(
          "c",
          vecsEach,
          `let s = r * ${vecsEach}u + c; all_sum[s] = fma(all_sum[s], vec4<f32>(old), sum[s] * fresh); sum[s] = vec4<f32>();`,
        )}
        all_mass[r] = fma(all_mass[r], old, mass[r] * fresh);
        mass[r] = 0.0;
        all_top[r] = now;`)}
      workgroupBarrier();
      if (index < ${TILE_ROWS}u) { tops[index] = NEVER; }
    }
  }
  ${forRows(`let row = row_0 + r;
    if (row < num_rows) {
      let inverse = 1.0 / all_mass[r];
      let to = (item.x + row / ${group}u) * ${numChunks(numHeads * headDim) * 8}u;
      let column = (head * ${group}u + row % ${group}u) * ${headDim / 4}u;
      ${forVecs(`if (d4 < ${headDim / 4}u) { y[to + lane_vec4(column + d4)] = all_sum[r * ${vecsEach}u + c] * inverse; }`)}
    }`)}
}`,
  });
}
