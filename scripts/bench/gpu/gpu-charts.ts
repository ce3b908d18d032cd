/** Which charts are drawn from a run on a GPU. */
import type { Chart } from "../bar-chart.ts";
import type { GpuResults } from "../results.ts";
import type { DecodeResult } from "./decode-run.ts";
import type { KernelTime } from "./kernel-section.ts";

/** Of every model that was measured: its decodes, short contexts and long ones. */
export function decodesOf({ sections }: GpuResults): [model: string, decodes: DecodeResult[]][] {
  return Object.entries(sections).flatMap(([name, { values }]): [string, DecodeResult[]][] => {
    const decodes = [...((values.decode as DecodeResult[]) ?? []), ...((values.decodeLong as DecodeResult[]) ?? [])];
    return decodes.length === 0 ? [] : [[name, decodes]];
  });
}

export function gpuCharts(results: GpuResults): Chart[] {
  const all = decodesOf(results);
  const shapes = [...new Set(all.map(([name]) => name.split(" ")[0]!))];
  return [...shapes.map((shape) => decodeChart(shape, all)), ...kernelCharts(results)];
}

/** A series for each kind of weights, a group for each batch and context. */
function decodeChart(shape: string, all: ReturnType<typeof decodesOf>): Chart {
  const models = all.filter(([name]) => name.startsWith(`${shape} `));
  const label = ({ batch, contextTokens }: DecodeResult) => `${batch} at ${contextTokens}`;
  const labels = [...new Set(models.flatMap(([, decodes]) => decodes.map(label)))];
  return {
    title: `${shape}: decode of so many sequences at a context`,
    unit: "tokens/s",
    series: models.map(([name]) => name.split(" ")[1]!),
    groups: labels.map((wanted) => ({
      label: wanted,
      bars: models.flatMap(([, decodes], series) => {
        const found = decodes.find((one) => label(one) === wanted);
        return found === undefined ? [] : [{ series, value: found.tokensPerS }];
      }),
    })),
  };
}

function kernelCharts({ sections }: GpuResults): Chart[] {
  const times = (sections.kernels?.values.times ?? []) as KernelTime[];
  const most = sections.ceilings?.values.readGbPerS as number | undefined;
  if (times.length === 0) return [];
  return [
    {
      title: "Kernels: bytes that must be moved",
      unit: "GB/s",
      series: ["on the GPU's clock"],
      groups: times.map(({ name, gbPerS }) => ({ label: name, bars: [{ series: 0, value: gbPerS }] })),
      ...(most !== undefined && { lines: [{ label: "memory read in one stream", value: most }] }),
    },
  ];
}
