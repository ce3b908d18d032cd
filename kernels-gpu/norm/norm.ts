/**
 * RMSNorm (Zhang and Sennrich 2019) or LayerNorm (Ba et al. 2016) of rows, one workgroup a row.
 *
 *  - "lanes": the result goes to a lane-major row, the input of the next product;
 *  - "add": the result is added to the residual stream (norms behind a block, as Gemma 3 has them).
 *
 * With `gathers`, row i is made of row `rows[i]`: the LM head runs for the rows whose output is wanted, no others.
 *
 * v1: one pass for the sum of squares (two for a mean), one to write; the row stays in the cache between them.
 */
import { checkSize, defineKernel, type Kernel, read, readWrite } from "../kernel.ts";
import { laneVec4Wgsl, numChunks } from "../lanes.ts";
import { reduceCall, reduceWgsl, type Subgroups, subgroupDirectives, subgroupParameters } from "../reduce.ts";

export interface NormShape extends Subgroups {
  /** A multiple of 4. */
  width: number;
  epsilon: number;
  kind: "rms" | "layer";
  output: "lanes" | "add";
  gathers: boolean;
}

export type NormBinding = "counts" | "rows" | "x" | "weight" | "bias" | "y";

const THREADS = 128;

/** Dispatch one workgroup for each row; `counts[0]` is not read. */
export function norm(shape: NormShape): Kernel<NormBinding> {
  const { width, epsilon, kind, output, gathers } = shape;
  checkSize("a norm's width", width, 4);
  const vecs = width / 4;
  const toLanes = output === "lanes";
  const stride = toLanes ? numChunks(width) * 8 : vecs;
  const sumOf = (term: string) => /* wgsl */ `
  var own = 0.0;
  for (var i = index; i < ${vecs}u; i += ${THREADS}u) { let v = x[first + i]${kind === "layer" ? " - mean" : ""}; own += ${term}; }`;
  const mean =
    kind === "rms"
      ? ""
      : /* wgsl */ `
  var part = 0.0;
  for (var i = index; i < ${vecs}u; i += ${THREADS}u) { part += dot(x[first + i], vec4<f32>(1.0)); }
  let mean = ${reduceCall(shape, "sum", "part")} / ${width}.0;`;

  return defineKernel({
    name: `${kind}-norm v1 ${width} ${output}${gathers ? " gathered" : ""}`,
    directives: subgroupDirectives(shape),
    bindings: {
      counts: read("array<u32>"),
      rows: read("array<u32>"),
      x: read("array<vec4<f32>>"),
      weight: read("array<vec4<f32>>"),
      bias: read("array<vec4<f32>>"),
      y: readWrite("array<vec4<f32>>"),
    },
    body: /* wgsl */ `
${reduceWgsl(shape, "sum", THREADS)}
${toLanes ? laneVec4Wgsl(width) : ""}
@compute @workgroup_size(${THREADS})
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) index: u32${subgroupParameters(shape)}) {
  let row = workgroup.x;
  let first = ${gathers ? "rows[row]" : "row"} * ${vecs}u;
  ${mean}
  ${sumOf("dot(v, v)")}
  let scale = 1.0 / sqrt(${reduceCall(shape, "sum", "own")} / ${width}.0 + ${epsilon});
  for (var i = index; i < ${vecs}u; i += ${THREADS}u) {
    let normed = (x[first + i]${kind === "layer" ? " - mean" : ""}) * scale * weight[i]${kind === "layer" ? " + bias[i]" : ""};
    let to = row * ${stride}u + ${toLanes ? "lane_vec4(i)" : "i"};
    y[to] ${toLanes ? "=" : "+="} normed;
  }
}`,
  });
}

export const normWorkgroups = (numRows: number): [number] => [numRows];
