/** The measuring process in Node. Started by `node-host.ts`; prints an EngineReport. */
import { readFileSync } from "node:fs";
import { kernelModules } from "../../test/support/kernel-modules.ts";
import type { EngineJob, EngineReport } from "./engine-job.ts";
import { measureEngine } from "./measure-engine.ts";

const job = JSON.parse(process.argv[2]!) as EngineJob;
const host = {
  nowMs: () => performance.now(),
  pause: () => new Promise<void>((resolve) => setImmediate(resolve)),
};
const modules = kernelModules(job.kernelSets);
const measures = await measureEngine(readFileSync(job.modelPath), job.modelPath, modules, job.settings, host);
const report: EngineReport = { ...measures, peakProcessBytes: process.resourceUsage().maxRSS * 1024 };
console.log(JSON.stringify(report));
