/** What the adapter is and offers, what it can do at most, and what talking to it costs. */
import { defineKernel, read, readWrite } from "../../../kernels-gpu/kernel.ts";
import { adapterLabel, openAdapter } from "../../../src/backends/gpu/adapter.ts";
import { type Dispatch, GpuDevice } from "../../../src/backends/gpu/device.ts";
import { quantile, round } from "../statistics.ts";
import { ceilingCases, GPU_CEILINGS, SOFTWARE_CEILINGS } from "./ceilings.ts";
import { medianNs } from "./kernel-time.ts";
import type { Section, SectionContext } from "./section.ts";

/** Runs with a device of its own. */
export async function withDevice(software: boolean, run: (device: GpuDevice) => Promise<void>): Promise<void> {
  const device = await GpuDevice.open({ software });
  try {
    await run(device);
  } finally {
    device.destroy();
  }
}

interface MatrixConfig {
  componentType: string;
  resultComponentType: string;
  M: number;
  N: number;
  K: number;
}

export const ADAPTER: Section = {
  name: "adapter",
  budgetS: { gpu: 20, software: 10 },
  async run({ software, report, say }) {
    const { adapter, description, release, gpu } = await openAdapter({ software });
    const { info, features, limits } = adapter;
    report("adapter", description);
    report("features", [...features].sort());
    report("wgslFeatures", [...gpu.wgslLanguageFeatures].sort());
    const names: string[] = [];
    for (const name in limits) names.push(name);
    const numbers = names.map((name) => [name, limits[name as keyof GPUSupportedLimits]] as const);
    report("limits", Object.fromEntries(numbers.filter(([, value]) => typeof value === "number")));
    report("subgroupSizes", [info.subgroupMinSize ?? null, info.subgroupMaxSize ?? null]);
    const { subgroupMatrixConfigs = [] } = info as GPUAdapterInfo & { subgroupMatrixConfigs?: MatrixConfig[] };
    const configs = [...subgroupMatrixConfigs].map(({ componentType, resultComponentType, M, N, K }) => {
      return { componentType, resultComponentType, M, N, K };
    });
    report("subgroupMatrixConfigs", configs);
    say(adapterLabel(description));
    release();
  },
};

export const CEILINGS: Section = {
  name: "ceilings",
  budgetS: { gpu: 40, software: 10 },
  run: ({ software, report, say }) =>
    withDevice(software, async (device) => {
      const cases = ceilingCases(device, software ? SOFTWARE_CEILINGS : GPU_CEILINGS);
      const size = software ? { samples: 1, sampleNs: 1 } : { samples: 5, sampleNs: 20e6 };
      for (const [name, make] of Object.entries(cases)) {
        const one = await make();
        const ns = await medianNs(device, one, size);
        for (const buffer of one.buffers) buffer.destroy();
        // Bytes a nanosecond are GB a second; operations a nanosecond, thousandths of TFLOP/s.
        const [key, value] = one.flops > 0 ? ["TflopPerS", one.flops / ns / 1000] : ["GbPerS", one.bytes / ns];
        report(`${name}${key}`, round(value));
        say(`${name}: ${round(value)} ${one.flops > 0 ? "TFLOP/s" : "GB/s"}`);
      }
    }),
};

/** Nothing but the dispatch: reads nothing, or adds to a word that the one before it wrote. */
const EMPTY = defineKernel({
  name: "empty",
  bindings: { nothing: read("array<u32>") },
  body: "@compute @workgroup_size(1) fn main() { _ = nothing[0]; }",
});
const COUNT = defineKernel({
  name: "count",
  bindings: { total: readWrite("array<u32>") },
  body: "@compute @workgroup_size(1) fn main() { total[0] += 1u; }",
});

/** Timestamps that Dawn rounds are multiples of this. */
const QUANTUM_NS = 65_536;

export const DISPATCHES: Section = {
  name: "dispatches",
  budgetS: { gpu: 30, software: 10 },
  run: ({ software, report, say }) =>
    withDevice(software, async (device) => {
      const word = device.buffer("word", 16);
      const dispatch = (kernel: Dispatch["kernel"]): Dispatch => ({ kernel, workgroups: [1] });
      const independent = dispatch(await device.bind(EMPTY, { nothing: word }));
      const dependent = dispatch(await device.bind(COUNT, { total: word }));
      const counts = software ? [100] : [100, 1000, 10_000];
      for (const [name, one] of Object.entries({ independent, dependent })) {
        const rows = [];
        for (const count of counts)
          rows.push(
            await dispatchCost(
              device,
              Array.from({ length: count }, () => one),
            ),
          );
        report(name, rows);
        say(`${name}: ${rows.at(-1)!.gpuUsEach} µs each on the GPU, ${rows.at(-1)!.encodeUsEach} µs to encode`);
      }
      report("ownSubmission", await submissionCost(device, independent, software ? 20 : 500));
      const times = [];
      for (let i = 0; i < 16; i++) times.push(await device.measure([independent]));
      report("shortestTimestampNs", Math.min(...times.filter((ns) => ns > 0)));
      report(
        "timestampsAreRounded",
        times.every((ns) => ns % QUANTUM_NS === 0),
      );
    }),
};

/** All in one pass of one submission. */
async function dispatchCost(device: GpuDevice, dispatches: Dispatch[]) {
  await device.measure(dispatches);
  const gpuNs = await device.measure(dispatches);
  const beganMs = performance.now();
  device.submit(dispatches);
  const encodeMs = performance.now() - beganMs;
  await settle(device, dispatches[0]!);
  const count = dispatches.length;
  return { count, gpuUsEach: round(gpuNs / 1e3 / count), encodeUsEach: round((1e3 * encodeMs) / count) };
}

async function submissionCost(device: GpuDevice, one: Dispatch, count: number) {
  await settle(device, one);
  const beganMs = performance.now();
  for (let i = 0; i < count; i++) device.submit([one]);
  const encodeMs = performance.now() - beganMs;
  await settle(device, one);
  const wholeMs = performance.now() - beganMs;
  return { count, encodeUsEach: round((1e3 * encodeMs) / count), usEach: round((1e3 * wholeMs) / count) };
}

/** Until everything that was submitted is done: a measurement waits for it. */
async function settle(device: GpuDevice, one: Dispatch): Promise<void> {
  await device.measure([one]);
}

const MIB = 2 ** 20;

export const TRANSFERS: Section = {
  name: "transfers",
  budgetS: { gpu: 30, software: 10 },
  run: (context) =>
    withDevice(context.software, async (device) => {
      await transfers(device, context);
    }),
};

async function transfers(device: GpuDevice, { software, report, say }: SectionContext): Promise<void> {
  const uploadBytes = software ? 8 * MIB : 1024 * MIB;
  const buffer = device.buffer("transfer", uploadBytes);
  const data = new Uint32Array(uploadBytes / 4).fill(0x3c003c00);
  const seconds = async (action: () => Promise<unknown>) => {
    const beganMs = performance.now();
    await action();
    return (performance.now() - beganMs) / 1000;
  };
  const upload = async () => {
    await device.uploadLarge(buffer, data);
    await device.download(buffer, 4);
  };
  await upload();
  report("uploadGbPerS", round(uploadBytes / 1e9 / (await seconds(upload))));
  const downloadBytes = uploadBytes / 4;
  await device.download(buffer, downloadBytes);
  report("downloadGbPerS", round(downloadBytes / 1e9 / (await seconds(() => device.download(buffer, downloadBytes)))));
  const small = new Uint32Array(1024);
  const numSmall = software ? 100 : 1000;
  const smallS = await seconds(async () => {
    for (let i = 0; i < numSmall; i++) device.upload(buffer, small);
  });
  report("smallUploadUs", round((1e6 * smallS) / numSmall));
  await device.download(buffer, 4);
  const latenciesMs: number[] = [];
  for (let i = 0; i < (software ? 50 : 500); i++) {
    latenciesMs.push(1000 * (await seconds(() => device.download(buffer, 4))));
  }
  latenciesMs.sort((a, b) => a - b);
  const [p50, p99] = [0.5, 0.99].map((share) => round(quantile(latenciesMs, share)));
  report("readbackMs", { p50, p99 });
  say(`4 bytes back after ${p50} ms, 99 % within ${p99} ms`);
}
