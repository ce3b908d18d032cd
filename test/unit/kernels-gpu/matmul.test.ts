/** Matrix kernels against float64, and against each other: one token or many, the same row gives the same bits. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fromLaneMajor, paddedWidth, toLaneMajor } from "../../../kernels-gpu/lanes.ts";
import { GEMM_TILE_TOKENS, gemm, gemmWorkgroups } from "../../../kernels-gpu/matmul/gemm.ts";
import { GEMV_TOKENS, gemv, gemvWorkgroups } from "../../../kernels-gpu/matmul/gemv.ts";
import { type Epilogue, isGated, type MatmulShape } from "../../../kernels-gpu/matmul/matmul.ts";
import { referenceMatmul } from "../../../kernels-gpu/matmul/reference.ts";
import type { GpuWeightType } from "../../../kernels-gpu/weights/format.ts";
import { GPU_WEIGHT_TYPES, packRows, weightFormat } from "../../../kernels-gpu/weights/pack.ts";
import type { GpuDevice } from "../../../src/backends/gpu/device.ts";
import { dequantize } from "../../../src/model/dequantize.ts";
import { quantize } from "../../support/quantize.ts";
import { normalSource } from "../../support/random.ts";
import { expectClose, openTestDevice, runKernel } from "./harness.ts";

let device: GpuDevice;
beforeAll(async () => {
  device = await openTestDevice();
});
afterAll(() => device.destroy());

interface Problem {
  shape: MatmulShape;
  quants: Uint32Array;
  extras: Uint32Array;
  weights: Float32Array;
  bias: Float32Array;
  rows: Float32Array[];
  before: Float32Array[];
}

function problem(type: GpuWeightType, n: number, k: number, numTokens: number, epilogue: Epilogue = "store"): Problem {
  const normal = normalSource(n * 31 + k);
  const numbers = (count: number, scale = 1) => Float32Array.from({ length: count }, () => normal() * scale);
  const file = quantize(type, numbers(n * k, 1 / Math.sqrt(k)));
  return {
    shape: { weightType: type, n, k, epilogue, hasBias: !isGated(epilogue) && n % 2 === 0 },
    ...packRows(weightFormat(type), file, k),
    weights: dequantize(type, file),
    bias: numbers(n),
    rows: Array.from({ length: numTokens }, () => numbers(k)),
    before: Array.from({ length: numTokens }, () => numbers(n)),
  };
}

/** A row of the kernel's output as it lies in memory. */
function outputWidth({ n, epilogue }: MatmulShape): number {
  if (epilogue === "store" || epilogue === "add") return n;
  return paddedWidth(isGated(epilogue) ? n / 2 : n);
}

/** @param perPass tokens of a gemv, or "64" / "128" of a gemm's tile @returns a row for each token, in natural order */
async function run(p: Problem, kind: "gemv" | "gemm", perPass: number): Promise<Float32Array[]> {
  const { shape } = p;
  const numTokens = p.rows.length;
  const x = new Float32Array(Math.max(numTokens, 8) * paddedWidth(shape.k));
  for (const [i, row] of p.rows.entries()) x.set(toLaneMajor(row), i * paddedWidth(shape.k));
  const width = outputWidth(shape);
  const y = new Float32Array(numTokens * width);
  if (shape.epilogue === "add") for (const [i, row] of p.before.entries()) y.set(row, i * width);
  const kernel = kind === "gemv" ? gemv(shape, perPass) : gemm(shape, perPass as 64);
  const workgroups =
    kind === "gemv" ? gemvWorkgroups(shape, perPass, numTokens) : gemmWorkgroups(shape, perPass as 64, numTokens);
  const inputs = {
    counts: Uint32Array.of(numTokens),
    x,
    quants: p.quants,
    extras: p.extras.length === 0 ? new Uint32Array(4) : p.extras,
    bias: p.bias,
    y,
  };
  const out = new Float32Array(await runKernel(device, kernel, inputs, workgroups, "y"));
  return p.rows.map((_, i) => {
    const row = out.subarray(i * width, (i + 1) * width);
    return width === shape.n && !shape.epilogue.includes("-single") && !isGated(shape.epilogue)
      ? row.slice()
      : fromLaneMajor(row, isGated(shape.epilogue) ? shape.n / 2 : shape.n);
  });
}

const expected = (p: Problem) =>
  p.rows.map((row, i) =>
    referenceMatmul(p.weights, row, p.shape.epilogue, p.shape.hasBias ? p.bias : null, p.before[i]!),
  );

/** Sums of k products of N(0, 1/√k) and N(0, 1) in f32. */
const TOLERANCE = 3e-6;

describe.each(GPU_WEIGHT_TYPES)("%s", (type) => {
  // 18 chunks: a whole superchunk and a narrow one. K-quants: 24.
  const k = type.endsWith("_K") ? 768 : 576;

  test("one token agrees with float64", async () => {
    const p = problem(type, 37, k, 1);
    expectClose((await run(p, "gemv", 1))[0]!, expected(p)[0]!, TOLERANCE);
  });

  test("several tokens and tiles give one token's bits", async () => {
    const p = problem(type, 70, k, 5);
    const alone = await run(p, "gemv", 1);
    for (const [i, row] of expected(p).entries()) expectClose(alone[i]!, row, TOLERANCE);
    expect(await run(p, "gemv", 4)).toEqual(alone);
    expect(await run(p, "gemm", 64)).toEqual(alone);
  });
});

describe.each(["add", "silu", "gelu-tanh", "gelu-tanh-single"] as const)("epilogue %s", (epilogue) => {
  test("agrees with float64 in every kernel, which agree in every bit", async () => {
    const p = problem("Q8_0", 76, 96, 11, epilogue);
    const alone = await run(p, "gemv", 1);
    for (const [i, row] of expected(p).entries()) expectClose(alone[i]!, row, TOLERANCE);
    expect(await run(p, "gemv", 8)).toEqual(alone);
    for (const tile of GEMM_TILE_TOKENS) expect(await run(p, "gemm", tile)).toEqual(alone);
  });
});

test.each(GEMV_TOKENS)("%i tokens a pass, 3 of them there", async (perPass) => {
  const p = problem("F32", 20, 64, 3);
  const rows = await run(p, "gemv", perPass);
  for (const [i, row] of expected(p).entries()) expectClose(rows[i]!, row, TOLERANCE);
});

test("k that is no whole chunk, and a prompt of more tokens than a tile", async () => {
  const p = problem("F16", 66, 72, 130);
  const rows = await run(p, "gemm", 128);
  for (const [i, row] of expected(p).entries()) expectClose(rows[i]!, row, TOLERANCE);
  expect(await run(p, "gemm", 64)).toEqual(rows);
  expect(await run(p, "gemv", 2)).toEqual(rows);
});

test("impossible shapes are refused", () => {
  const shape: MatmulShape = { weightType: "Q4_K", n: 8, k: 288, epilogue: "store", hasBias: false };
  expect(() => gemv(shape, 1)).toThrow(/Q4_K columns = 288.*multiple of 256/);
  expect(() => gemm({ ...shape, k: 256, n: 7, epilogue: "silu" }, 64)).toThrow(/rows = 7.*multiple of 2/);
});
