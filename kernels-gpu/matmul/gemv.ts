/**
 * Matrix · vector, and · up to 8 vectors: the decode path, bound by reading weights once.
 *
 * A workgroup has 8 groups of 16 lanes; a group computes `rows` rows together, so that a chunk of activations is loaded
 * once for all of them. Lanes read 16 bytes each, side by side, of weights and activations alike. What the lanes have
 * summed meets in workgroup memory, where one lane for each result adds the 16 in order.
 *
 * v1: one token. v2: `tokens` vectors in one pass over the weights; the same sums in the same order.
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

const GROUPS = 8;

/** Vectors that one pass over the weights serves. */
export const GEMV_TOKENS = [1, 2, 4, 8] as const;

/** Rows of a group: activations of one token are read from L1 once for 2 rows, of several once for 4. */
const groupRows = (tokens: number) => (tokens === 1 ? 2 : 4);

/** Dispatch `gemvWorkgroups`. Tokens beyond `counts[0]` are computed from whatever is there, and not stored. */
export function gemv(shape: MatmulShape, tokens: number): Kernel<MatmulBinding> {
  checkMatmul(shape);
  const rows = groupRows(tokens);
  const chunks = numChunks(shape.k);
  const format = weightFormat(shape.weightType);
  const forRows = (body: string) => repeat("r", rows, body);
  const forTokens = (body: string) => repeat("m", tokens, body);
  const steps = Array.from({ length: 8 }, (_, j) =>
    forRows(
      `let w = decode_${j}(source[r]); ${forTokens(`sum[r * ${tokens}u + m] = dot4(w, x_${j}[m], sum[r * ${tokens}u + m]);`)}`,
    ),
  );
  const loads = Array.from(
    { length: 8 },
    (_, j) =>
      `var x_${j}: array<vec4<f32>, ${tokens}>; ${forTokens(`x_${j}[m] = x[x_at + m * ${chunks * 8}u + ${j}u * width];`)}`,
  );

  return defineKernel({
    name: `gemv v2 ${shape.weightType} ${shape.n}x${shape.k} m${tokens} ${shape.epilogue}`,
    bindings: MATMUL_BINDINGS,
    body: /* wgsl */ `
${format.wgsl(chunks)}
${DOT4_WGSL}
${epilogueWgsl(shape)}
const NUM_ROWS = ${shape.n}u;
const NUM_CHUNKS = ${chunks}u;
var<workgroup> parts: array<f32, ${GROUPS * rows * tokens * NUM_LANES}>;

// The sum of result \`i\` of group \`group\`, lane after lane.
fn total(group: u32, i: u32) -> f32 {
  var sum = 0.0;
  for (var lane = 0u; lane < ${NUM_LANES}u; lane++) {
    sum += parts[(group * ${rows * tokens}u + i) * ${NUM_LANES}u + lane];
  }
  return sum;
}

@compute @workgroup_size(${GROUPS * NUM_LANES})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32) {
  let lane = index % ${NUM_LANES}u;
  let group = index / ${NUM_LANES}u;
  let first_row = (workgroup.x * ${GROUPS}u + group) * ${rows}u;
  let first_token = workgroup.y * ${tokens}u;
  var sum: array<f32, ${rows * tokens}>;
  for (var chunk = lane; chunk < NUM_CHUNKS; chunk += ${NUM_LANES}u) {
    let first = chunk - lane;
    let width = min(${NUM_LANES}u, NUM_CHUNKS - first);
    let x_at = first_token * ${chunks * 8}u + first * 8u + lane;
    var source: array<Chunk, ${rows}>;
    ${forRows("source[r] = load_chunk(min(first_row + r, NUM_ROWS - 1u), chunk);")}
    ${loads.map((load, j) => `${load}\n${steps[j]}`).join("\n")}
  }
  ${repeat("i", rows * tokens, `parts[(group * ${rows * tokens}u + i) * ${NUM_LANES}u + lane] = sum[i];`)}
  workgroupBarrier();
  ${isGated(shape.epilogue) ? pairStores(rows, tokens) : singleStores(rows, tokens)}
}`,
  });
}

function singleStores(rows: number, tokens: number): string {
  return /* wgsl */ `
  for (var i = lane; i < ${rows * tokens}u; i += ${NUM_LANES}u) {
    let row = first_row + i / ${tokens}u;
    let token = first_token + i % ${tokens}u;
    if (row < NUM_ROWS && token < counts[0]) { finish(token, row, total(group, i)); }
  }`;
}

function pairStores(rows: number, tokens: number): string {
  return /* wgsl */ `
  for (var i = lane; i < ${(rows / 2) * tokens}u; i += ${NUM_LANES}u) {
    let r = 2u * (i / ${tokens}u);
    let m = i % ${tokens}u;
    let token = first_token + m;
    if (first_row + r < NUM_ROWS && token < counts[0]) {
      finish_pair(token, first_row + r, total(group, r * ${tokens}u + m), total(group, (r + 1u) * ${tokens}u + m));
    }
  }`;
}

export function gemvWorkgroups({ n }: MatmulShape, tokens: number, numTokens: number): [number, number] {
  return [ceilDiv(n, GROUPS * groupRows(tokens)), ceilDiv(numTokens, tokens)];
}
