/** The operator's say in speculation: the variable SPECULATION. */
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
