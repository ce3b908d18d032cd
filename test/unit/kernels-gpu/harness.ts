/** A device on SwiftShader for the tests of a file, and running one kernel on arrays. */
import { expect } from "vitest";
import type { Kernel } from "../../../kernels-gpu/kernel.ts";
import { GpuDevice } from "../../../src/backends/gpu/device.ts";

export const openTestDevice = (): Promise<GpuDevice> => GpuDevice.open({ software: true });

type Data = Float32Array | Uint32Array | Int32Array;

/** Runs `kernel` once on copies of `inputs`. @returns what the buffer `output` holds then, as words */
export async function runKernel<Name extends string>(
  device: GpuDevice,
  kernel: Kernel<Name>,
  inputs: Record<Name, Data>,
  workgroups: readonly [number, number?, number?],
  output: NoInfer<Name>,
): Promise<ArrayBuffer> {
  const outputs = await runForAll(device, kernel, inputs, workgroups, [output]);
  return outputs[output]!;
}

/** As `runKernel`, with several outputs. */
export async function runForAll<Name extends string>(
  device: GpuDevice,
  kernel: Kernel<Name>,
  inputs: Record<Name, Data>,
  workgroups: readonly [number, number?, number?],
  outputs: readonly NoInfer<Name>[],
): Promise<Record<Name, ArrayBuffer>> {
  const names = Object.keys(inputs) as Name[];
  const buffers = Object.fromEntries(names.map((name) => [name, device.bufferOf(name, inputs[name])])) as Record<
    Name,
    GPUBuffer
  >;
  const bound = await device.bind(kernel, buffers);
  device.submit([{ kernel: bound, workgroups }]);
  const results = {} as Record<Name, ArrayBuffer>;
  for (const name of outputs) results[name] = await device.download(buffers[name], inputs[name].byteLength);
  for (const name of names) buffers[name].destroy();
  return results;
}

/** Every element within `tolerance` · (1 + |expected|); NaN never is. */
export function expectClose(actual: ArrayLike<number>, expected: ArrayLike<number>, tolerance: number): void {
  expect(actual.length).toBe(expected.length);
  let worst = { error: 0, at: -1 };
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!) / (1 + Math.abs(expected[i]!));
    if (!(error <= worst.error)) worst = { error, at: i };
  }
  const { error, at } = worst;
  expect(error, `element ${at} is ${actual[at]}, not ${expected[at]}`).toBeLessThanOrEqual(tolerance);
}
