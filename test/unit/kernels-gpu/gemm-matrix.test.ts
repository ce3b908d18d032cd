/**
 * The tensor-core product cannot run without tensor cores. What can be checked here: that it compiles for every weight type
 * and epilogue, on Dawn's device without hardware, which knows the language but computes nothing.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { create } from "webgpu";
import { gemmMatrix } from "../../../kernels-gpu/matmul/gemm-matrix.ts";
import { GPU_WEIGHT_TYPES } from "../../../kernels-gpu/weights/pack.ts";

let gpu: GPU | null;
let device: GPUDevice;

beforeAll(async () => {
  gpu = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = (await gpu.requestAdapter())!;
  const requiredFeatures = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"] as GPUFeatureName[];
  device = await adapter.requestDevice({ requiredFeatures });
});
afterAll(() => {
  device.destroy();
  gpu = null;
});

describe.each(GPU_WEIGHT_TYPES)("%s", (weightType) => {
  test.each(["store", "add", "silu", "gelu-tanh-single"] as const)("%s compiles", async (epilogue) => {
    const code = gemmMatrix({ weightType, n: 128, k: 256, epilogue, hasBias: epilogue === "add" }, 32).wgsl;
    device.pushErrorScope("validation");
    const { messages } = await device.createShaderModule({ code }).getCompilationInfo();
    expect(messages.filter(({ type }) => type === "error")).toEqual([]);
    expect(await device.popErrorScope()).toBeNull();
  });
});

test("subgroups that cannot load a tile are refused", () => {
  const shape = { weightType: "F16", n: 64, k: 64, epilogue: "store", hasBias: false } as const;
  expect(() => gemmMatrix(shape, 8)).toThrow(/Subgroups of 8 threads/);
});
