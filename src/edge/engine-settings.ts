/** The operator's say in how the engine runs: the variables SPECULATION and KV_PRECISION. */
import { KV_PRECISIONS, type KvPrecision } from "../backends/cpu/memory-plan.ts";
import { NUM_DRAFTS_MAX } from "../serving/draft-policy.ts";
import type { SpeculationOption } from "../serving/speculation.ts";

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
