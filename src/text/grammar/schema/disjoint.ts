/** Whether no value that is written for one of two schemas is valid for the other: what `oneOf` needs. */
import { type JsonObject, listOf, objectOf } from "../../../protocol/json-values.ts";
import type { Located, SchemaContext } from "./context.ts";
import { pathTo } from "./context.ts";
import { flatten } from "./flatten.ts";
import { TYPES } from "./keywords.ts";

/** Alternatives inside alternatives that are looked into. */
const DEPTH_MAX = 4;

/** Both without `$ref` and `allOf`. True only where it is certain. */
export function areDisjoint(a: Located, b: Located, context: SchemaContext): boolean {
  const [left, right] = [objectOf(a.schema), objectOf(b.schema)];
  if (a.schema === false || b.schema === false) return true;
  if (left === null || right === null) return false;
  const types = typesOf(right, b.path, context, DEPTH_MAX);
  const shared = [...typesOf(left, a.path, context, DEPTH_MAX)].filter((type) => types.has(type));
  if (shared.length === 0) return true;
  const [values, others] = [finite(left), finite(right)];
  if (values !== null && others !== null) return !haveCommon(values, others);
  if (shared.length > 1 || shared[0] !== "object") return false;
  return isToldApart(left, right, a.path, context) || isToldApart(right, left, b.path, context);
}

/** A required property of one is another constant in the other, or forbidden there. */
function isToldApart(one: JsonObject, other: JsonObject, path: string, context: SchemaContext): boolean {
  const own = objectOf(one.properties) ?? {};
  const theirs = objectOf(other.properties) ?? {};
  return listOf(one.required).some((name) => {
    if (typeof name !== "string") return false;
    if (!Object.hasOwn(theirs, name)) {
      return other.additionalProperties === false && !Object.hasOwn(other, "patternProperties");
    }
    if (!Object.hasOwn(own, name)) return false;
    const [mine, its] = [own[name], theirs[name]].map((schema) => {
      const flat = flatten({ schema, path: pathTo(pathTo(path, "properties"), name) }, context);
      return flat === false ? [] : finite(flat);
    });
    return mine != null && its != null && !haveCommon(mine, its);
  });
}

/** Types of which a valid value may be; integers are numbers here. */
function typesOf(schema: JsonObject, path: string, context: SchemaContext, depth: number): Set<string> {
  const values = finite(schema);
  if (values !== null) return new Set(values.map(typeOf));
  const named = schema.type === undefined ? [...TYPES] : Array.isArray(schema.type) ? schema.type : [schema.type];
  let types = new Set<string>(named.map((type) => (type === "integer" ? "number" : String(type))));
  for (const keyword of ["anyOf", "oneOf"]) {
    if (!Object.hasOwn(schema, keyword) || depth === 0) continue;
    const inner = listOf(schema[keyword]).flatMap((option) => {
      const flat = flatten({ schema: option, path: pathTo(path, keyword) }, context);
      return flat === false ? [] : [...typesOf(flat, path, context, depth - 1)];
    });
    types = new Set(inner.filter((type) => types.has(type)));
  }
  return types;
}

function finite(schema: JsonObject): unknown[] | null {
  if (Object.hasOwn(schema, "const")) return [schema.const];
  return Array.isArray(schema.enum) ? schema.enum : null;
}

function typeOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : typeof value;
}

/** Numbers, texts and the like by themselves, the rest by how it is written: certain only for the former. */
function haveCommon(a: readonly unknown[], b: readonly unknown[]): boolean {
  const isPlain = (value: unknown) => typeof value !== "object" || value === null;
  if (a.some((one) => !isPlain(one)) && b.some((one) => !isPlain(one))) return true;
  const known = new Set(b);
  return a.some((value) => known.has(value));
}
