/**
 * `think`: whether the model is to think before it answers, or how much. Chat templates know both by the names that
 * models' makers gave them; one that has no such switch does as it always does.
 */
import { invalidRequest } from "../errors.ts";
import { quote } from "../openai/validate.ts";

const LEVELS: readonly unknown[] = ["low", "medium", "high"];

/** @returns arguments of the chat template; null = as the model is used to */
export function decodeThink(value: unknown): Record<string, unknown> | null {
  if (value == null) return null;
  if (typeof value === "boolean") return { enable_thinking: value };
  if (LEVELS.includes(value)) return { enable_thinking: true, reasoning_effort: value };
  throw invalidRequest(`'think' must be true, false, "low", "medium" or "high", but is ${quote(value)}.`, "think");
}
