/**
 * Matrix · many vectors: the prefill path, bound by arithmetic. A workgroup of 256 threads computes a tile of
 * `tileTokens` × 64 results; a thread has (tileTokens / 16) × 4 of them in registers. For each chunk of 32 the weights are
 * decoded once into workgroup memory, beside the activations, as vectors of four k: neighbours read neighbours.
 *
 * The chunks are walked lane by lane, as `lanes.ts` says: a thread sums one lane's chunks, then adds that to its total.
 * That costs a second accumulator and gives a prompt the bits that decode gives.
 *
 * v1: 64 × 64, 4 × 4 a thread: 64 products for 8 loads of 16 bytes. v2: 128 tokens, 8 × 4 a thread: 128 products for 12.
 */
import { ceilDiv, defineKernel, type Kernel, repeat } from "../kernel.ts";
import { NUM_LANES, numChunks } from "../lanes.ts";
import { weightFormat } from "../weights/pack.ts";
import {
  checkMatmul,
  DOT4_WGSL,
  epilogueWgsl,
  isGated,
  MATMUL_BINDINGS,
  type MatmulBinding,
  type MatmulShape,
} from "./matmul.ts";

const TILE_ROWS = 64;
const THREADS = 256;

/** Tokens of a tile: the large one where a prompt fills it. Workgroup memory: (tokens + 64) · 128 bytes, at most 24 KiB. */
export const GEMM_TILE_TOKENS = [64, 128] as const;
export type GemmTileTokens = (typeof GEMM_TILE_TOKENS)[number];

export function gemm(shape: MatmulShape, tileTokens: GemmTileTokens): Kernel<MatmulBinding> {
  checkMatmul(shape);
  const chunks = numChunks(shape.k);
  const format = weightFormat(shape.weightType);
  const threadTokens = tileTokens / 16;
  const forTokens = (body: string) => repeat("t", threadTokens, body);
  const forRows = (body: string) => repeat("r", 4, body);

  return defineKernel({
    name: `gemm v2 ${shape.weightType} ${shape.n}x${shape.k} tile ${tileTokens}x${TILE_ROWS} ${shape.epilogue}`,
    bindings: MATMUL_BINDINGS,
    body: /* wgsl */ `
${format.wgsl(chunks)}
${DOT4_WGSL}
${epilogueWgsl(shape)}
const NUM_ROWS = ${shape.n}u;
const NUM_CHUNKS = ${chunks}u;
// [k / 4][token] and [k / 4][place]; the even rows of the tile have the first places, the odd ones the others.
var<workgroup> tile_x: array<vec4<f32>, ${8 * tileTokens}>;
var<workgroup> tile_w: array<vec4<f32>, ${8 * TILE_ROWS}>;

@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let num_tokens = counts[0];
  let first_row = workgroup.x * ${TILE_ROWS}u;
  let first_token = workgroup.y * ${tileTokens}u;
  let place = index % ${TILE_ROWS}u;
  let quarter = index / ${TILE_ROWS}u;
  let source_row = min(first_row + 2u * (place % ${TILE_ROWS / 2}u) + place / ${TILE_ROWS / 2}u, NUM_ROWS - 1u);
  let thread_x = index / 16u;
  let thread_w = index % 16u;
  // [token][row] of this thread.
  var total: array<f32, ${4 * threadTokens}>;
  var part: array<f32, ${4 * threadTokens}>;
  for (var lane = 0u; lane < min(${NUM_LANES}u, NUM_CHUNKS); lane++) {
    for (var chunk = lane; chunk < NUM_CHUNKS; chunk += ${NUM_LANES}u) {
      let first = chunk - lane;
      let width = min(${NUM_LANES}u, NUM_CHUNKS - first);
      let source = load_chunk(source_row, chunk);
      workgroupBarrier();
      // Threads that run together take the same part of a chunk.
      switch quarter {
        ${[0, 1, 2, 3].map(putWeights).join("\n        ")}
      }
      for (var i = index; i < ${tileTokens * 8}u; i += ${THREADS}u) {
        let token = min(first_token + i % ${tileTokens}u, num_tokens - 1u);
        tile_x[i] = x[token * ${chunks * 8}u + first * 8u + (i / ${tileTokens}u) * width + lane];
      }
      workgroupBarrier();
      for (var j = 0u; j < 8u; j++) {
        var w: array<vec4<f32>, 4>;
        ${forRows(`w[r] = tile_w[j * ${TILE_ROWS}u + thread_w + 16u * (r >> 1u) + 32u * (r & 1u)];`)}
        ${forTokens(`let v = tile_x[j * ${tileTokens}u + thread_x + 16u * t]; ${forRows("part[4u * t + r] = dot4(w[r], v, part[4u * t + r]);")}`)}
      }
    }
    ${repeat("i", 4 * threadTokens, "total[i] += part[i]; part[i] = 0.0;")}
  }
  // Rows of a thread: 2 · thread_w, the next, and both + 32.
  ${forTokens(`let token = first_token + thread_x + 16u * t; if (token < num_tokens) { ${store(shape, forRows)} }`)}
}`,
  });
}

function putWeights(quarter: number): string {
  const puts = [2 * quarter, 2 * quarter + 1].map((j) => `tile_w[${j * TILE_ROWS}u + place] = decode_${j}(source);`);
  return `${quarter === 3 ? "default" : `case ${quarter}u`}: { ${puts.join(" ")} }`;
}

function store({ epilogue }: MatmulShape, forRows: (body: string) => string): string {
  const row = (r: string) => `let row = first_row + 2u * thread_w + (${r} & 1u) + 32u * (${r} >> 1u);`;
  if (!isGated(epilogue)) return forRows(`${row("r")} if (row < NUM_ROWS) { finish(token, row, total[4u * t + r]); }`);
  const finish = "finish_pair(token, row, total[4u * t + 2u * pair], total[4u * t + 2u * pair + 1u]);";
  return repeat("pair", 2, `${row("(2u * pair)")} if (row < NUM_ROWS) { ${finish} }`);
}

export function gemmWorkgroups({ n }: MatmulShape, tileTokens: GemmTileTokens, numTokens: number): [number, number] {
  return [ceilDiv(n, TILE_ROWS), ceilDiv(numTokens, tileTokens)];
}
