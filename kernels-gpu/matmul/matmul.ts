/**
 * What all matrix kernels share: y[m][n] = Σ_k w[n][k] · x[m][k], their bindings, and what happens to a sum before it is
 * stored. `gemv.ts` reads weights once for up to 8 tokens, `gemm.ts` tiles for more; both sum in the order of `lanes.ts`.
 */
import { type Binding, checkSize, read, readWrite } from "../kernel.ts";
import { laneVec4Wgsl, numChunks } from "../lanes.ts";
import type { GpuWeightType } from "../weights/format.ts";

/**
 * What becomes of a sum:
 *  - "store": y = sum (+ bias);
 *  - "add": y += sum (+ bias), the residual stream;
 *  - "silu" / "gelu-tanh": of each pair of rows (gate, up), y = activation(gate) · up: half as many values, in lane-major
 *    order, ready for the next product;
 *  - "gelu-tanh-single": y = gelu(sum + bias), in lane-major order, for layers without a gate.
 */
export type Epilogue = "store" | "add" | "silu" | "gelu-tanh" | "gelu-tanh-single";

export interface MatmulShape {
  weightType: GpuWeightType;
  /** Rows of the matrix, both of a pair counted. */
  n: number;
  k: number;
  epilogue: Epilogue;
  hasBias: boolean;
  /** Of "store": the results are these columns of wider rows. */
  place?: { firstColumn: number; width: number };
}

export type MatmulBinding = "counts" | "x" | "quants" | "extras" | "bias" | "y";

/** `counts[0]` = tokens of the step. `x`: lane-major rows. `extras` and `bias` must be bound to something always. */
export const MATMUL_BINDINGS: Record<MatmulBinding, Binding> = {
  counts: read("array<u32>"),
  x: read("array<vec4<f32>>"),
  quants: read("array<vec4<u32>>"),
  extras: read("array<u32>"),
  bias: read("array<f32>"),
  y: readWrite("array<f32>"),
};

export const isGated = (epilogue: Epilogue): boolean => epilogue === "silu" || epilogue === "gelu-tanh";

export function checkMatmul({ n, k, epilogue, weightType, hasBias }: MatmulShape): void {
  if (hasBias && isGated(epilogue)) throw new RangeError(`The epilogue "${epilogue}" has no bias.`);
  checkSize(`${weightType} rows`, n, isGated(epilogue) ? 2 : 1);
  checkSize(`${weightType} columns`, k, weightType.endsWith("_K") ? 256 : weightType.startsWith("Q") ? 32 : 1);
}

/** tanh overflows nowhere: WGSL's may for large arguments, so it is kept from them. */
export const ACTIVATIONS_WGSL = /* wgsl */ `
fn silu(x: f32) -> f32 { return x / (1.0 + exp(-x)); }
fn gelu_tanh(x: f32) -> f32 {
  return 0.5 * x * (1.0 + tanh(clamp(0.7978845608028654 * fma(0.044715 * x * x, x, x), -15.0, 15.0)));
}`;

/** `finish(token, row, sum)`, or `finish_pair(token, row, gate, up)` with the even row of a pair. */
export function epilogueWgsl({
  n,
  epilogue,
  hasBias,
  place: columns = { firstColumn: 0, width: n },
}: Pick<MatmulShape, "n" | "epilogue" | "hasBias" | "place">): string {
  const biased = hasBias ? "sum + bias[row]" : "sum";
  if (epilogue === "store" || epilogue === "add") {
    return /* wgsl */ `
fn finish(token: u32, row: u32, sum: f32) {
  y[token * ${columns.width}u + ${columns.firstColumn}u + row] ${epilogue === "add" ? "+=" : "="} ${biased};
}`;
  }
  const width = isGated(epilogue) ? n / 2 : n;
  const place = /* wgsl */ `
${ACTIVATIONS_WGSL}
${laneVec4Wgsl(width)}
fn place(token: u32, column: u32) -> u32 {
  return token * ${numChunks(width) * 32}u + lane_vec4(column >> 2u) * 4u + (column & 3u);
}`;
  if (!isGated(epilogue)) {
    return /* wgsl */ `${place}
fn finish(token: u32, row: u32, sum: f32) { y[place(token, row)] = gelu_tanh(${biased}); }`;
  }
  return /* wgsl */ `${place}
fn finish_pair(token: u32, row: u32, gate: f32, up: f32) {
  y[place(token, row >> 1u)] = ${epilogue === "silu" ? "silu" : "gelu_tanh"}(gate) * up;
}`;
}

/** Adds four products one by one. */
export const DOT4_WGSL = /* wgsl */ `
fn dot4(w: vec4<f32>, x: vec4<f32>, sum: f32) -> f32 {
  return fma(w.w, x.w, fma(w.z, x.z, fma(w.y, x.y, fma(w.x, x.x, sum))));
}`;
