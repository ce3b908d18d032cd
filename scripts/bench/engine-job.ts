/** What a measuring process is asked for, and what it answers: the same for Node and workerd. */
import type { KernelSet } from "../../src/backends/cpu/kernel-set.ts";
import type { EngineMeasures, MeasureSettings } from "./measure-engine.ts";

export const HOSTS = ["node", "workerd"] as const;
export type HostName = (typeof HOSTS)[number];

export interface EngineJob {
  modelPath: string;
  /** The best of these that the host runs. */
  kernelSets: readonly KernelSet[];
  v8Flags: readonly string[];
  settings: MeasureSettings;
}

export interface EngineReport extends EngineMeasures {
  /** Most memory the process had at a time, the model's file included; null where the system does not say. */
  peakProcessBytes: number | null;
}

/** V8 then lowers the relaxed dots as on processors without AVX-VNNI, which many edge servers are. */
export const NO_VNNI_FLAGS = ["--no-enable-avx-vnni", "--no-enable-avx-vnni-int8"];
