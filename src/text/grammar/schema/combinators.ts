/**
 * `$ref` beside other keywords, `allOf`, `anyOf` and `oneOf`: rewritten to alternatives without them. What stands beside
 * `anyOf` holds for each alternative.
 */
import { type JsonObject, objectOf } from "../../../protocol/json-values.ts";
import { type Located, pathTo, type SchemaContext } from "./context.ts";
import { areDisjoint } from "./disjoint.ts";
import { flatten } from "./flatten.ts";
import { isAssertion } from "./keywords.ts";
import { KeywordReader } from "./read.ts";

/** @returns schemas of which any may hold; null where there is nothing to rewrite */
export function combined(
  { schema, path }: { schema: JsonObject; path: string },
  context: SchemaContext,
): Located[] | null {
  if (Object.hasOwn(schema, "$ref") || Object.hasOwn(schema, "allOf")) {
    return [{ schema: flatten({ schema, path }, context), path }];
  }
  const keyword = ["anyOf", "oneOf"].find((name) => Object.hasOwn(schema, name));
  if (keyword === undefined) return null;
  const options = new KeywordReader(schema, path, context).list(keyword) ?? [];
  if (options.length === 0)
    throw context.refuse(pathTo(path, keyword), "has to have a schema at least", "invalid_schema");
  const base = Object.fromEntries(Object.entries(schema).filter(([key]) => key !== keyword && isAssertion(key)));
  const isBare = Object.keys(base).length === 0;
  const located = options.map((option, i) => ({
    schema: isBare ? option : { allOf: [base, option] },
    path: pathTo(pathTo(path, keyword), i),
  }));
  if (keyword === "oneOf") refuseOverlap(located, pathTo(path, keyword), context);
  return located;
}

/** Alternatives that are compared with each other, all pairs of them. */
const EXCLUSIVE_OPTIONS_MAX = 64;

function refuseOverlap(options: readonly Located[], path: string, context: SchemaContext): void {
  if (options.length > EXCLUSIVE_OPTIONS_MAX) {
    throw context.refuse(path, `has ${options.length} schemas; the limit is ${EXCLUSIVE_OPTIONS_MAX}. Use anyOf`);
  }
  const flat = options.map((option) => ({
    schema: objectOf(option.schema) === null ? option.schema : flatten(option, context),
    path: option.path,
  }));
  for (const [i, left] of flat.entries()) {
    for (const right of flat.slice(i + 1)) {
      if (areDisjoint(left, right, context)) continue;
      throw context.refuse(
        path,
        "may have alternatives that hold for the same value, which cannot be excluded here; use anyOf, or give each a " +
          "required property with a 'const' of its own",
      );
    }
  }
}
