/**
 * `npm run bench:gpu-kernels`: every WGSL kernel by itself, timed by the GPU's own clock, against what its memory can do
 * (a copy, measured in the same run). A software adapter is for checking that the benchmark runs: its times are marked as a
 * CPU's in the table and in the JSON, and it is used only when asked for.
 */
import { parseArgs } from "node:util";
import { type BenchCase, copyCase, GPU_SIZES, SOFTWARE_SIZES } from "../../kernels-gpu/bench/case.ts";
import { benchCases } from "../../kernels-gpu/bench/cases.ts";
import { adapterLabel } from "../../src/backends/gpu/adapter.ts";
import { GpuDevice } from "../../src/backends/gpu/device.ts";
import { parseCount, runCommand, say, writeJson } from "./command.ts";
import { medianNs } from "./gpu/kernel-time.ts";
import { textTable } from "./table.ts";

const HELP = `Usage: npm run bench:gpu-kernels -- [options]

Each kernel at the sizes of an 8B model's layer: time, bytes and operations a second, and its share of the copy bandwidth
that the same run measured.

  --json FILE     write the results there as well
  --samples N     samples of a kernel; the median counts (default: 5)
  --sample-ms N   least duration of a sample (default: 20)
  --software      run on the CPU, at small sizes. Not a GPU's numbers
  --help          this text`;

interface Measured {
  name: string;
  microseconds: number;
  gigabytesPerSecond: number;
  gigaflops: number;
  /** Of the measured copy bandwidth. */
  bandwidthShare: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      json: { type: "string" },
      samples: { type: "string", default: "5" },
      "sample-ms": { type: "string", default: "20" },
      software: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const samples = parseCount("--samples", values.samples);
  const sampleNs = parseCount("--sample-ms", values["sample-ms"]) * 1e6;
  const device = await GpuDevice.open({ software: values.software });
  try {
    const { isSoftware } = device.adapter;
    const label = adapterLabel(device.adapter);
    console.log(isSoftware ? `A CPU that plays a GPU (${label}): these are no GPU's numbers.` : label);
    const sizes = isSoftware ? SOFTWARE_SIZES : GPU_SIZES;
    const time = (one: BenchCase) => medianNs(device, one, { samples, sampleNs });

    const copy = await copyCase(device, sizes.copyBytes);
    const copyRate = copy.bytes / (await time(copy));
    release(copy);
    say(`copy: ${copyRate.toFixed(1)} GB/s`);
    const results: Measured[] = [];
    for (const make of benchCases(device, sizes)) {
      const one = await make();
      const ns = await time(one);
      release(one);
      const rate = one.bytes / ns;
      results.push({
        name: one.name,
        microseconds: ns / 1e3,
        gigabytesPerSecond: rate,
        gigaflops: one.flops / ns,
        bandwidthShare: rate / copyRate,
      });
      say(`${one.name}: ${(ns / 1e3).toFixed(1)} µs`);
    }
    console.log(table(results, isSoftware));
    if (values.json !== undefined) {
      writeJson(values.json, { version: 1, adapter: device.adapter, copyGigabytesPerSecond: copyRate, sizes, results });
    }
  } finally {
    device.destroy();
  }
}

function release({ buffers }: BenchCase): void {
  for (const buffer of buffers) buffer.destroy();
}

function table(results: Measured[], isSoftware: boolean): string {
  const rate = isSoftware ? "GB/s (CPU)" : "GB/s";
  return textTable(
    ["kernel", isSoftware ? "µs (CPU)" : "µs", rate, "of copy", isSoftware ? "GFLOP/s (CPU)" : "GFLOP/s"],
    results.map(({ name, microseconds, gigabytesPerSecond, gigaflops, bandwidthShare }) => [
      name,
      microseconds.toFixed(1),
      gigabytesPerSecond.toFixed(1),
      `${(100 * bandwidthShare).toFixed(0)} %`,
      gigaflops === 0 ? "" : gigaflops.toFixed(1),
    ]),
  );
}

await runCommand("bench:gpu-kernels", main);
