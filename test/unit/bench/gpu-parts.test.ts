/** The parts of the GPU benchmark: sections that crash or hang, NVIDIA's driver in a container, random weights, the summary. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { create } from "webgpu";
import { quantWords } from "../../../kernels-gpu/weights/format.ts";
import { weightFormat } from "../../../kernels-gpu/weights/pack.ts";
import type { MixName } from "../../../scripts/bench/gguf-shapes.ts";
import { fmaKernel, tileKernel } from "../../../scripts/bench/gpu/ceilings.ts";
import { adviseVulkan, inspectVulkan } from "../../../scripts/bench/gpu/nvidia-vulkan.ts";
import { randomFiller } from "../../../scripts/bench/gpu/random-model.ts";
import { runSection } from "../../../scripts/bench/gpu/run-section.ts";
import { summarizeGpu } from "../../../scripts/bench/gpu/summary.ts";
import { randomGguf, randomGgufHeader } from "../../../scripts/bench/random-gguf.ts";
import type { GpuDevice } from "../../../src/backends/gpu/device.ts";
import type { GpuMatrix } from "../../../src/backends/gpu/weights.ts";
import { readGgufHeader } from "../../../src/model/gguf-reader.ts";
import { memorySource } from "../../../src/model/source-memory.ts";
import { specFromGguf } from "../../../src/model/spec-from-gguf.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "runnel-bench-gpu-test-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a section", () => {
  const order = { name: "one", budgetS: 60, software: true, known: {}, python: "python3" };
  const run = (code: string, budgetS = 60, graceS = 0) => {
    const program = join(folder, "program.mjs");
    writeFileSync(program, `const report = (name, value) => process.send({ type: "value", name, value });\n${code}`);
    const said: string[] = [];
    const options = { env: process.env, say: (text: string) => said.push(text), program, graceS };
    return runSection({ ...order, budgetS }, options).then((result) => ({ ...result, said }));
  };

  test("tells values and lines", async () => {
    const code = `report("a", 1); report("a", 2); process.send({ type: "say", text: "hello" }); process.disconnect();`;
    expect(await run(code)).toMatchObject({ status: "done", values: { a: 2 }, said: ["one: hello"] });
  });

  test("that crashes in native code leaves what it told, and the signal", async () => {
    const code = `report("a", 1); setTimeout(() => process.abort(), 50);`;
    expect(await run(code)).toMatchObject({
      status: "failed",
      reason: expect.stringContaining("SIGABRT"),
      values: { a: 1 },
    });
  });

  test("that fails, or has nothing to run on, says why", async () => {
    const end = (type: string) => `process.send({ type: "${type}", message: "no" }); process.disconnect();`;
    expect(await run(end("failed"))).toMatchObject({ status: "failed", reason: "no" });
    expect(await run(end("skipped"))).toMatchObject({ status: "skipped", reason: "no" });
  });

  test("that hangs is killed with all that it started: what still held its stderr would keep this from ending", async () => {
    const code = `
      import { spawn } from "node:child_process";
      spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" });
      report("a", 1);
      setInterval(() => {}, 1000);`;
    expect(await run(code, 1)).toMatchObject({ status: "out of time", reason: "killed after 1 s", values: { a: 1 } });
  });

  test("that ends and leaves something running takes it with it", async () => {
    const code = `
      import { spawn } from "node:child_process";
      spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"], { stdio: "inherit" }).unref();
      process.disconnect();`;
    expect(await run(code)).toMatchObject({ status: "done" });
  });
});

describe("NVIDIA's Vulkan driver", () => {
  const LIBRARIES = "/usr/lib/x86_64-linux-gnu";
  const look = (files: Record<string, string>, env: NodeJS.ProcessEnv = {}) => {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), text);
    }
    return adviseVulkan(inspectVulkan(folder, env));
  };
  const device = { "/dev/nvidiactl": "" };
  const loader = { [`${LIBRARIES}/libvulkan.so.1`]: "" };
  const egl = { [`${LIBRARIES}/libEGL_nvidia.so.0`]: "" };
  const glx = { [`${LIBRARIES}/libGLX_nvidia.so.0`]: "" };
  const x11 = { [`${LIBRARIES}/libX11.so.6`]: "", [`${LIBRARIES}/libXext.so.6`]: "" };
  const manifest = (library: string) => ({
    "/etc/vulkan/icd.d/nvidia_icd.json": JSON.stringify({ ICD: { library_path: library, api_version: "1.4.303" } }),
  });

  test("needs a device", () => {
    const { isUsable, lines } = look({ ...loader, ...egl });
    expect(isUsable).toBe(false);
    expect(lines[0]).toContain("--gpus all");
  });

  test("is told of by a private manifest where there is none", () => {
    const { manifest: written, isUsable } = look({ ...device, ...loader, ...egl });
    expect(isUsable).toBe(true);
    expect(JSON.parse(written!).ICD.library_path).toBe(`${LIBRARIES}/libEGL_nvidia.so.0`);
  });

  test("is told of by a private manifest where the one there wants X11", () => {
    const { manifest: written, lines } = look({
      ...device,
      ...loader,
      ...egl,
      ...glx,
      ...manifest("libGLX_nvidia.so.0"),
    });
    expect(written).toContain("libEGL_nvidia.so.0");
    expect(lines[0]).toContain("names libGLX_nvidia.so.0, which cannot be loaded here");
  });

  test.each([
    ["the file names EGL", { ...manifest("libEGL_nvidia.so.0") }],
    ["X11 is there", { ...glx, ...x11, ...manifest("libGLX_nvidia.so.0") }],
  ])("is left alone where %s", (_, files) => {
    expect(look({ ...device, ...loader, ...egl, ...files })).toMatchObject({ manifest: null, isUsable: true });
  });

  test("without its graphics part needs another container, and it says which", () => {
    const { isUsable, lines } = look({ ...device, ...loader }, { NVIDIA_DRIVER_CAPABILITIES: "compute,utility" });
    expect(isUsable).toBe(false);
    expect(lines[0]).toContain("NVIDIA_DRIVER_CAPABILITIES is 'compute,utility'");
  });

  test("without a loader says which package has it", () => {
    const { isUsable, lines } = look({ ...device, ...egl, "/etc/vulkan/icd.d/nvidia_icd.json": "no JSON" });
    expect(isUsable).toBe(false);
    expect(lines[0]).toContain("apt-get install --no-install-recommends libvulkan1");
  });
});

describe("random weights without a file", () => {
  test.each(["f16", "q4_0", "q8_0"] as const)("have the header of the file: %s", async (mix: MixName) => {
    const model = { shape: "tiny", mix, seed: 1 } as const;
    const whole = await readGgufHeader(memorySource(randomGguf(model), "whole"));
    const bytes = randomGgufHeader(model);
    const alone = await readGgufHeader({ ...memorySource(bytes, "alone"), sizeBytes: null });
    expect(alone).toEqual(whole);
  });

  test("may be larger than any file here", async () => {
    const bytes = randomGgufHeader({ shape: "llama-8b", mix: "f16", seed: 1 });
    const header = await readGgufHeader({ ...memorySource(bytes, "8b"), sizeBytes: null });
    expect(specFromGguf(header, "8b")).toMatchObject({ numLayers: 32, headDim: 128, tiedHead: true });
    const { offsetBytes, sizeBytes } = header.tensors.at(-2)!;
    expect(offsetBytes + sizeBytes).toBeGreaterThan(14e9);
  });

  test.each(["F16", "Q4_0", "Q8_0"] as const)("fill every row of a matrix: %s", async (weightType) => {
    const [n, k] = [40_000, 256];
    const format = weightFormat(weightType);
    const words = { quants: n * quantWords(format, k / 32), extras: n * format.extraWords(k / 32) };
    const memory = { quants: new Uint32Array(words.quants), extras: new Uint32Array(words.extras) };
    // Buffers are names here, and uploads go where a GPU would put them.
    const device = {
      upload: (name: keyof typeof memory, data: Uint32Array, offset: number) => memory[name].set(data, offset / 4),
      download: async () => new ArrayBuffer(4),
    };
    const matrix = { weightType, n, k, quants: "quants", extras: "extras" };
    await randomFiller(1)(device as unknown as GpuDevice, matrix as unknown as GpuMatrix);
    const numZero = memory.quants.reduce((count, word) => count + (word === 0 ? 1 : 0), 0);
    expect(numZero).toBeLessThan(words.quants / 1000);
    expect(memory.extras.every((word) => word !== 0)).toBe(true);
  });
});

test("the ceilings that no software driver can run compile", async () => {
  const gpu = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
  const adapter = (await gpu.requestAdapter())!;
  const requiredFeatures = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"] as GPUFeatureName[];
  const device = await adapter.requestDevice({ requiredFeatures });
  for (const { wgsl } of [fmaKernel("f16", 8), tileKernel(8, 32)]) {
    const { messages } = await device.createShaderModule({ code: wgsl }).getCompilationInfo();
    expect(messages.filter(({ type }) => type === "error")).toEqual([]);
  }
  device.destroy();
});

test("the summary compares many requests with every arm of transformers on the same shape", () => {
  const section = (values: Record<string, unknown>) => ({ status: "done" as const, seconds: 1, values });
  const decode = [{ batch: 1, ofRead: 0.6 }];
  const summary = summarizeGpu({
    "llama-8b f16": section({ decode, serving: { outputTokensPerS: 3000 }, prefixHit: { speedup: 8 } }),
    "llama-1b f16": section({
      decode,
      serving: { outputTokensPerS: 9000 },
      servingOneStepInFlight: { outputTokensPerS: 6000 },
    }),
    "transformers llama-8b": section({
      versions: { torch: "2" },
      "one-at-a-time": { outputTokensPerS: 30 },
      "static-batch": { outputTokensPerS: 1000 },
      "no generate_batch": "ImportError",
    }),
    kernels: section({
      times: [
        { name: "decode-attention v1 32/8x128 f16", ofRead: 0.7 },
        { name: "gemv", ofRead: 1 },
      ],
    }),
  });
  expect(summary).toEqual({
    decodeOfRead: { "llama-8b f16": 0.6, "llama-1b f16": 0.6 },
    attentionOfRead: { "decode-attention v1 32/8x128 f16": 0.7 },
    againstTransformers: [
      { model: "llama-8b f16", arm: "one-at-a-time", times: 100 },
      { model: "llama-8b f16", arm: "static-batch", times: 3 },
    ],
    prefixHitSpeedup: { "llama-8b f16": 8 },
    twoStepsSpeedup: { "llama-1b f16": 1.5 },
  });
});
