/** By what a compiled constraint is found again. */
import type { Constraint } from "../../protocol/generate.ts";
import { SCHEMA_JSON_DEPTH_MAX } from "../../protocol/limits.ts";
import { isDeeperThan } from "./json-depth.ts";

/** Longer ones are compiled each time: their texts would fill the memory that masks are kept in. */
const KEY_CHARS_MAX = 32 * 1024;

/** @returns null for what is not worth keeping */
export function constraintKey(constraint: Constraint, param: string): string | null {
  if (constraint.kind === "schema" && isDeeperThan(constraint.schema, SCHEMA_JSON_DEPTH_MAX)) return null;
  return bounded(JSON.stringify([param, constraint]));
}

/** Of a grammar that is put together from several things. @param value JSON that says them all */
export function partsKey(value: unknown): string | null {
  return isDeeperThan(value, SCHEMA_JSON_DEPTH_MAX) ? null : bounded(JSON.stringify({ parts: value }));
}

function bounded(key: string): string | null {
  return key.length > KEY_CHARS_MAX ? null : key;
}
