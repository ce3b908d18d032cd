/** A schema without `$ref` and `allOf`: everything that holds at once, merged into one object. */
import { type JsonObject, objectOf } from "../../../protocol/json-values.ts";
import { type Located, pathTo, type SchemaContext } from "./context.ts";
import { refuseUnsupported } from "./keywords.ts";
import { merge } from "./merge.ts";
import { KeywordReader } from "./read.ts";

/** References that lead to references, and `allOf` inside `allOf`. */
const STEPS_MAX = 64;

/** @returns false where nothing can hold */
export function flatten({ schema, path }: Located, context: SchemaContext, depth = 0): JsonObject | false {
  context.enter(path, 0);
  if (depth > STEPS_MAX) throw context.refuse(path, "refers to itself, or is combined too deep");
  if (schema === true) return {};
  if (schema === false) return false;
  const object = objectOf(schema);
  if (object === null)
    throw context.refuse(path, "is no schema; it has to be an object, true or false", "invalid_schema");
  refuseUnsupported(object, path, context);
  const { $ref, allOf, ...own } = object;
  const parts: Located[] = [];
  if (Object.hasOwn(object, "$ref")) parts.push(context.resolve($ref, pathTo(path, "$ref")));
  if (Object.hasOwn(object, "allOf")) {
    const listed = new KeywordReader(object, path, context).list("allOf") ?? [];
    parts.push(...listed.map((one, i) => ({ schema: one, path: pathTo(pathTo(path, "allOf"), i) })));
  }
  let all: JsonObject | false = own;
  for (const part of parts) {
    const other = flatten(part, context, depth + 1);
    if (all === false || other === false) return false;
    all = merge(all, other, { path: part.path, context });
  }
  return all;
}
