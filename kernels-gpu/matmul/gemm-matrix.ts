/**
 * Matrix · many vectors on tensor cores, through WGSL's experimental subgroup matrices (16 × 16 × 16, f16 with sums in f32).
 * Only where the adapter offers that configuration and one subgroup size. A workgroup of four subgroups computes 64 × 64
 * results, each subgroup 32 × 32 of them; weights are decoded and activations rounded to f16 in workgroup memory.
 *
 * What it gives up: activations keep 11 bits (beyond ±65504 they are clamped), and a prompt's results are no longer the bits
 * that decode gives, so a backend that promises those must not use it.
 *
 * v1. It compiles (the tests check that on a device without hardware); no software driver can run it, so its numbers have
 * been compared with nothing yet.
 */
import { ceilDiv, defineKernel, type Kernel, repeat } from "../kernel.ts";
import { NUM_LANES, numChunks } from "../lanes.ts";
import { weightFormat } from "../weights/pack.ts";
import { checkMatmul, epilogueWgsl, isGated, MATMUL_BINDINGS, type MatmulBinding, type MatmulShape } from "./matmul.ts";

const TILE = 64;
const SUBGROUPS = 4;

/** @param subgroupSize the adapter's only one @throws RangeError where four subgroups cannot load a tile */
export function gemmMatrix(shape: MatmulShape, subgroupSize: number): Kernel<MatmulBinding> {
  checkMatmul(shape);
  const threads = SUBGROUPS * subgroupSize;
  if (threads % TILE !== 0)
    throw new RangeError(`Subgroups of ${subgroupSize} threads cannot load a tile of ${TILE} rows.`);
  const chunks = numChunks(shape.k);
  const decode = Array.from({ length: 8 }, (_, j) => `case ${j}u: { value = decode_${j}(source); }`);
  return defineKernel({
    name: `gemm-matrix v1 ${shape.weightType} ${shape.n}x${shape.k} ${shape.epilogue}`,
    directives: `enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
requires subgroup_id;
diagnostic(off, chromium.subgroup_matrix_uniformity);`,
    bindings: MATMUL_BINDINGS,
    body: /* wgsl */ `
${weightFormat(shape.weightType).wgsl(chunks)}
${epilogueWgsl(shape)}
const NUM_ROWS = ${shape.n}u;
const NUM_CHUNKS = ${chunks}u;
// [token][k] and [row][k].
var<workgroup> tile_x: array<f16, ${TILE * 32}>;
var<workgroup> tile_w: array<f16, ${TILE * 32}>;
var<workgroup> results: array<f32, ${TILE * TILE}>;

fn narrow(value: vec4<f32>) -> vec4<f16> {
  return vec4<f16>(clamp(value, vec4<f32>(-65504.0), vec4<f32>(65504.0)));
}

@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32, @builtin(subgroup_id) subgroup: u32) {
  let num_tokens = counts[0];
  let first_row = workgroup.x * ${TILE}u;
  let first_token = workgroup.y * ${TILE}u;
  let token_0 = (subgroup / 2u) * 32u;
  let row_0 = (subgroup % 2u) * 32u;
  ${[0, 1, 2, 3].map((i) => `var sum_${i}: subgroup_matrix_result<f32, 16, 16>;`).join("\n  ")}
  for (var chunk = 0u; chunk < NUM_CHUNKS; chunk++) {
    let lane = chunk % ${NUM_LANES}u;
    let first = chunk - lane;
    let width = min(${NUM_LANES}u, NUM_CHUNKS - first);
    workgroupBarrier();
    let place = index % ${TILE}u;
    let source = load_chunk(min(first_row + place, NUM_ROWS - 1u), chunk);
    let token = min(first_token + place, num_tokens - 1u);
    for (var j = index / ${TILE}u; j < 8u; j += ${threads / TILE}u) {
      var value = vec4<f32>();
      switch j { ${decode.join(" ")} default: {} }
      let w = narrow(value);
      let v = narrow(x[token * ${chunks * 8}u + first * 8u + j * width + lane]);
      ${repeat("e", 4, "tile_w[place * 32u + 4u * j + e] = w[e]; tile_x[place * 32u + 4u * j + e] = v[e];")}
    }
    workgroupBarrier();
    for (var k = 0u; k < 32u; k += 16u) {
      ${[0, 1]
        .map(
          (i) =>
            `let x_${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, 16, 16>, row_major>(&tile_x, (token_0 + ${16 * i}u) * 32u + k, 32u);
      let w_${i} = subgroupMatrixLoad<subgroup_matrix_right<f16, 16, 16>, col_major>(&tile_w, (row_0 + ${16 * i}u) * 32u + k, 32u);`,
        )
        .join("\n      ")}
      ${[0, 1, 2, 3].map((i) => `sum_${i} = subgroupMatrixMultiplyAccumulate(x_${i >> 1}, w_${i & 1}, sum_${i});`).join("\n      ")}
    }
  }
  ${[0, 1, 2, 3]
    .map(
      (i) =>
        `subgroupMatrixStore<row_major>(&results, (token_0 + ${16 * (i >> 1)}u) * ${TILE}u + row_0 + ${16 * (i & 1)}u, sum_${i}, ${TILE}u);`,
    )
    .join("\n  ")}
  workgroupBarrier();
  for (var i = index; i < ${TILE * TILE}u; i += ${threads}u) {
    let token = first_token + i / ${TILE}u;
    let row = first_row + i % ${TILE}u;
    if (token >= num_tokens || row >= NUM_ROWS) { continue; }
    ${isGated(shape.epilogue) ? "if (i % 2u == 0u) { finish_pair(token, row, results[i], results[i + 1u]); }" : "finish(token, row, results[i]);"}
  }
}`,
  });
}

export function gemmMatrixWorkgroups({ n }: MatmulShape, numTokens: number): [number, number] {
  return [ceilDiv(n, TILE), ceilDiv(numTokens, TILE)];
}
