/**
 * The partial sums of a token's splits → its attention, by log-sum-exp in the order of the splits, as a lane-major row for
 * the output product. v1: a workgroup for each head of each token.
 */
import { defineKernel, type Kernel, read, readWrite } from "../kernel.ts";
import { laneVec4Wgsl, numChunks } from "../lanes.ts";
import { type AttentionShape, FOLD_WGSL, headVecs } from "./tile.ts";

/** `spans`: (row, first item, number of items) of each token that was split. `y`: lane-major rows of numHeads · headDim. */
export type MergeBinding = "spans" | "partials" | "maxima" | "y";

/** Dispatch (spans, numHeads). */
export function mergeAttention(shape: AttentionShape): Kernel<MergeBinding> {
  const { numHeads, headDim } = shape;
  const vecs = headVecs(shape);
  return defineKernel({
    name: `merge-attention v1 ${numHeads}x${headDim}`,
    bindings: {
      spans: read("array<vec4<u32>>"),
      partials: read("array<vec4<f32>>"),
      maxima: read("array<vec2<f32>>"),
      y: readWrite("array<vec4<f32>>"),
    },
    body: /* wgsl */ `
${FOLD_WGSL}
${laneVec4Wgsl(numHeads * headDim)}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) d4: u32) {
  let span = spans[workgroup.x];
  let head = workgroup.y;
  if (d4 >= ${headDim / 4}u) { return; }
  var top = NEVER;
  var mass = 0.0;
  var sum = vec4<f32>();
  for (var item = span.y; item < span.y + span.z; item++) {
    let at = item * ${numHeads}u + head;
    let part = maxima[at];
    let now = max(top, part.x);
    let old = fade(top, now);
    let fresh = fade(part.x, now);
    sum = fma(sum, vec4<f32>(old), partials[at * ${vecs}u + d4] * fresh);
    mass = fma(mass, old, part.y * fresh);
    top = now;
  }
  y[span.x * ${numChunks(numHeads * headDim) * 8}u + lane_vec4(head * ${headDim / 4}u + d4)] = sum * (1.0 / mass);
}`,
  });
}
