/** Every kernel by itself, at the sizes of an 8B model's layer, against the card's ceilings of the same run. */
import { GPU_SIZES, SOFTWARE_SIZES } from "../../../kernels-gpu/bench/case.ts";
import { benchCases } from "../../../kernels-gpu/bench/cases.ts";
import { round } from "../statistics.ts";
import { withDevice } from "./device-sections.ts";
import { medianNs } from "./kernel-time.ts";
import type { Section } from "./section.ts";

export interface KernelTime {
  name: string;
  us: number;
  gbPerS: number;
  tflopPerS: number;
  /** Of memory read in one stream; of f32 arithmetic. null where that was not measured. */
  ofRead: number | null;
  ofF32: number | null;
}

export const KERNELS: Section = {
  name: "kernels",
  budgetS: { gpu: 90, software: 3 },
  run: ({ software, report, say, hasTime, known }) =>
    withDevice(software, async (device) => {
      const { readGbPerS, f32TflopPerS } = (known.ceilings ?? {}) as Record<string, number | undefined>;
      const share = (value: number, most: number | undefined) => (most === undefined ? null : round(value / most));
      const size = software ? { samples: 1, sampleNs: 1 } : { samples: 3, sampleNs: 10e6 };
      const makers = benchCases(device, software ? SOFTWARE_SIZES : GPU_SIZES);
      report("numKernels", makers.length);
      const times: KernelTime[] = [];
      for (const make of makers) {
        if (!hasTime()) break;
        // One kernel that the driver refuses is no reason to know nothing of the others.
        try {
          const one = await make();
          const ns = await medianNs(device, one, size);
          for (const buffer of one.buffers) buffer.destroy();
          const [gbPerS, tflopPerS] = [one.bytes / ns, one.flops / ns / 1000];
          times.push({
            name: one.name,
            us: round(ns / 1e3),
            gbPerS: round(gbPerS),
            tflopPerS: round(tflopPerS),
            ofRead: share(gbPerS, readGbPerS),
            ofF32: share(tflopPerS, f32TflopPerS),
          });
        } catch (error) {
          report(`refused ${times.length}`, String(error));
        }
        report("times", times);
      }
      say(`${times.length} of ${makers.length} kernels`);
    }),
};
