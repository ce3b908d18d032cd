/** How long a kernel takes, by the GPU's own clock. */
import type { Dispatch, GpuDevice } from "../../../src/backends/gpu/device.ts";

export interface SampleSize {
  /** The median of so many counts. */
  samples: number;
  /** Least duration of one. */
  sampleNs: number;
}

/** A sample never runs a kernel more often. */
const RUNS_MAX = 2000;

/** Of one run of the kernel, in samples of as many runs as last long enough. The first warms up and sets that number. */
export async function medianNs(
  device: GpuDevice,
  { kernel, workgroups }: Dispatch,
  { samples, sampleNs }: SampleSize,
): Promise<number> {
  const run = async (count: number) =>
    (await device.measure(Array.from({ length: count }, () => ({ kernel, workgroups })))) / count;
  await run(1);
  const count = Math.min(RUNS_MAX, Math.max(1, Math.ceil(sampleNs / Math.max(1, await run(1)))));
  const times: number[] = [];
  for (let i = 0; i < samples; i++) times.push(await run(count));
  return times.sort((a, b) => a - b)[Math.floor(samples / 2)]!;
}
