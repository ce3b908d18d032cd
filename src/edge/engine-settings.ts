/** The operator's say in how the engine runs: the variables SPECULATION, KV_PRECISION, SESSION_KV_DAYS, TURN_CPU_MS. */
import { KV_PRECISIONS, type KvPrecision } from "../backends/cpu/memory-plan.ts";
import { NUM_DRAFTS_MAX } from "../serving/draft-policy.ts";
import type { SpeculationOption } from "../serving/speculation.ts";

/** Who comes back to a chat does so within days; its blocks are computed again in seconds. */
const SESSION_KV_DAYS = 7;
const SESSION_KV_DAYS_MAX = 365;

/** Two thirds of the 30 s that an invocation has where nothing is configured. To go on in another one costs some ms. */
const TURN_CPU_MS = 20_000;
/** The most that `limits.cpu_ms` can be. */
const TURN_CPU_MS_MAX = 300_000;

/** @param variable value of SPECULATION, where it is set */
export function speculationFrom(variable: string | undefined): SpeculationOption {
  if (variable === undefined) return "auto";
  if (variable === "auto" || variable === "off") return variable;
  const maxDrafts = Number(variable);
  if (Number.isInteger(maxDrafts) && maxDrafts >= 1 && maxDrafts <= NUM_DRAFTS_MAX) return { maxDrafts };
  throw new Error(
    `SPECULATION is '${variable}'; it must be auto, off, or the most drafts of a step, from 1 to ${NUM_DRAFTS_MAX}.`,
  );
}

/**
 * @param variable value of KV_PRECISION, where it is set
 * @returns null = what the memory suggests
 */
export function kvPrecisionFrom(variable: string | undefined): KvPrecision | null {
  if (variable === undefined || variable === "auto") return null;
  const precision = KV_PRECISIONS.find((each) => each === variable);
  if (precision !== undefined) return precision;
  throw new Error(`KV_PRECISION is '${variable}'; it must be auto or one of ${KV_PRECISIONS.join(", ")}.`);
}

/** @param variable value of SESSION_KV_DAYS, where it is set */
export function sessionKvDaysFrom(variable: string | undefined): number {
  if (variable === undefined) return SESSION_KV_DAYS;
  const days = Number(variable);
  if (variable.trim() !== "" && Number.isInteger(days) && days >= 0 && days <= SESSION_KV_DAYS_MAX) return days;
  throw new Error(`SESSION_KV_DAYS is '${variable}'; it must be a whole number of days, 0 to ${SESSION_KV_DAYS_MAX}.`);
}

/** @param variable value of TURN_CPU_MS, where it is set */
export function turnCpuMsFrom(variable: string | undefined): number {
  if (variable === undefined) return TURN_CPU_MS;
  const ms = Number(variable);
  if (variable.trim() !== "" && Number.isInteger(ms) && ms >= 1 && ms <= TURN_CPU_MS_MAX) return ms;
  throw new Error(`TURN_CPU_MS is '${variable}'; it must be a whole number of milliseconds, 1 to ${TURN_CPU_MS_MAX}.`);
}
