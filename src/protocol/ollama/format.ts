/** `format`: "json" for any JSON object, or a JSON Schema that the answer is to match; "" asks for nothing. */
import { invalidRequest } from "../errors.ts";
import type { Constraint } from "../generate.ts";
import { objectOf } from "../json-values.ts";
import { boundedConstraint } from "../openai/constraint-fields.ts";
import type { JsonBounds } from "../openai/json-bounds.ts";
import { quote } from "../openai/validate.ts";

export function decodeFormat(value: unknown, bounds: JsonBounds): Constraint | null {
  if (value == null || value === "") return null;
  if (value === "json") return { kind: "json" };
  const schema = objectOf(value);
  if (schema !== null) return boundedConstraint({ kind: "schema", schema }, ["format"], bounds);
  throw invalidRequest(`'format' must be "json" or a JSON Schema, but is ${quote(value)}.`, "format");
}
