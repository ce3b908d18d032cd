/** Names the hardware and the engines a number was measured on, and refuses a machine that is doing something else. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { arch, cpus, loadavg, platform, totalmem } from "node:os";
import { CommandError } from "../model/errors.ts";

export interface Machine {
  cpu: string;
  cores: number;
  /** Of the instructions that decide which kernels are fast: those the processor has. */
  cpuFlags: string[];
  /** Cores this process may run on, as the kernel lists them ("0", "0-1"); null where it does not say. */
  allowedCores: string | null;
  memoryBytes: number;
  platform: string;
  node: string;
  v8: string;
  workerd: string;
}

/** Decides between the two relaxed-SIMD instruction paths, and what a native peer may use. */
const TELLING_FLAGS = ["avx2", "avx_vnni", "avx512_vnni", "avx512f", "asimddp", "i8mm"];

/** More than half of the cores busy: somebody else's work would be measured. */
const LOAD_PER_CORE_MAX = 0.5;

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? "unknown",
    cores: cpus().length,
    cpuFlags: cpuFlags(readIfThere("/proc/cpuinfo")),
    allowedCores: /^Cpus_allowed_list:\s*(\S+)$/m.exec(readIfThere("/proc/self/status"))?.[1] ?? null,
    memoryBytes: totalmem(),
    platform: `${platform()} ${arch()}`,
    node: process.versions.node,
    v8: process.versions.v8,
    workerd: workerdRuntime().version,
  };
}

/** The workerd that miniflare and wrangler run; the test runner pins another one of its own. */
export function workerdRuntime(): { path: string; version: string } {
  const require = createRequire(createRequire(import.meta.url).resolve("miniflare"));
  const { default: path, version } = require("workerd") as { default: string; version: string };
  return { path, version };
}

/** @param cpuinfo text of /proc/cpuinfo; x86 lists "flags", arm64 "Features" */
export function cpuFlags(cpuinfo: string): string[] {
  const listed = new Set(/^(?:flags|Features)\s*:\s*(.*)$/m.exec(cpuinfo)?.[1]?.split(" "));
  return TELLING_FLAGS.filter((flag) => listed.has(flag));
}

/** @throws CommandError where the machine is busy */
export function assertQuiet(busyOk: boolean, [load = 0] = loadavg(), cores = cpus().length): void {
  const limit = LOAD_PER_CORE_MAX * cores;
  if (busyOk || load <= limit) return;
  throw new CommandError(
    `This machine is busy: its load average of one minute is ${load.toFixed(2)}, above ${limit} (half of its ${cores} ` +
      "cores). Numbers would say nothing. Wait a minute, or measure anyway with --busy-ok.",
  );
}

function readIfThere(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Linux only; elsewhere the report says less.
    return "";
  }
}
