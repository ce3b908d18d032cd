/** The device: what it says of itself, its errors, and that it lives as long as it is used. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { defineKernel, readWrite } from "../../../kernels-gpu/kernel.ts";
import { GpuDevice } from "../../../src/backends/gpu/device.ts";

let device: GpuDevice;
beforeAll(async () => {
  device = await GpuDevice.open({ software: true });
});
afterAll(() => device.destroy());

const double = defineKernel({
  name: "double",
  bindings: { numbers: readWrite("array<u32>") },
  body: /* wgsl */ `
@compute @workgroup_size(4)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { numbers[id.x] = numbers[id.x] * 2u; }`,
});

test("a CPU that plays a GPU is called one", () => {
  // Elsewhere the tests run on the machine's own GPU.
  const hasSwiftShader = process.platform === "linux" && process.arch === "x64";
  expect(device.adapter.isSoftware).toBe(hasSwiftShader);
  expect(device.adapter.architecture === "swiftshader").toBe(hasSwiftShader);
});

test("dispatches of a submission see what those before them wrote, uploads what was submitted before", async () => {
  const numbers = device.bufferOf("numbers", Uint32Array.of(1, 2, 3, 4));
  const kernel = await device.bind(double, { numbers });
  device.submit([
    { kernel, workgroups: [1] },
    { kernel, workgroups: [1] },
  ]);
  expect(new Uint32Array(await device.download(numbers))).toEqual(Uint32Array.of(4, 8, 12, 16));
  device.upload(numbers, Uint32Array.of(100), 4);
  device.submit([{ kernel, workgroups: [1] }]);
  expect(new Uint32Array(await device.download(numbers, 8, 4))).toEqual(Uint32Array.of(200, 24));
});

test("large uploads arrive whole", async () => {
  const data = Uint32Array.from({ length: (1 << 24) + 5 }, (_, i) => i);
  const buffer = device.buffer("large", data.byteLength);
  await device.uploadLarge(buffer, data);
  const tail = new Uint32Array(await device.download(buffer, 40, ((1 << 24) - 5) * 4));
  expect(tail).toEqual(data.subarray((1 << 24) - 5));
  buffer.destroy();
});

test("kernels are timed by the device", async () => {
  const kernel = await device.bind(double, { numbers: device.buffer("numbers", 16) });
  expect(await device.measure([{ kernel, workgroups: [1] }])).toBeGreaterThan(0);
});

describe("errors", () => {
  test("of a kernel that does not compile say which and where", async () => {
    const broken = { ...double, name: "broken", wgsl: `${double.wgsl}\nfn oops() { return 1; }` };
    await expect(device.bind(broken, { numbers: device.buffer("numbers", 16) })).rejects.toThrow(
      /The kernel "broken" does not compile on .*line \d+/,
    );
    // The next call is not blamed for it.
    await device.bind(double, { numbers: device.buffer("numbers", 16) });
  });

  test("of a buffer that is too large say both sizes", () => {
    expect(() => device.buffer("weights", 2 ** 40)).toThrow(
      /"weights" needs 1099511627776 bytes; this GPU binds at most/,
    );
  });

  test("that come late are thrown by the next call", async () => {
    const small = device.buffer("small", 16);
    device.upload(small, new Uint32Array(8));
    await expect(device.download(small)).rejects.toThrow(/The GPU refused an earlier call/);
    expect(new Uint32Array(await device.download(small))).toEqual(new Uint32Array(4));
  });
});

test("a destroyed device says that it is lost", async () => {
  const doomed = await GpuDevice.open({ software: true });
  doomed.destroy();
  expect(await doomed.lost).toMatch(/destroyed/);
});

test("garbage collection while the device is in use does not abort the process, and the process ends", async () => {
  const script = `
    const { GpuDevice } = await import("./src/backends/gpu/device.ts");
    const device = await GpuDevice.open({ software: true });
    const buffer = device.buffer("numbers", 64);
    for (let i = 0; i < 20; i++) { globalThis.gc(); await device.download(buffer); }
    device.destroy();
    console.log("alive");`;
  const args = ["--expose-gc", "--input-type=module", "--eval", script];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: `${import.meta.dirname}/../../..` });
  expect(stdout).toBe("alive\n");
});
