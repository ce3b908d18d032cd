/** By what a compiled constraint is found again. */
import type { Constraint } from "../../protocol/generate.ts";
import { SCHEMA_JSON_DEPTH_MAX } from "../../protocol/limits.ts";
import { isDeeperThan } from "./json-depth.ts";

/** Longer ones are compiled each time: their texts would fill the memory that masks are kept in. */
const KEY_CHARS_MAX = 32 * 1024;

/** @returns null for what is not worth keeping */
export function constraintKey(constraint: Constraint, param: string): string | null {
  if (constraint.kind === "schema" && isDeeperThan(constraint.schema, SCHEMA_JSON_DEPTH_MAX)) return null;
  const key = JSON.stringify([param, constraint]);
  return key.length > KEY_CHARS_MAX ? null : key;
}
