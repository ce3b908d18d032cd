/** JSON Schema's keywords by what is done with them. Keywords of nobody are notes and say nothing about a value. */
import type { JsonObject } from "../../../protocol/json-values.ts";
import type { SchemaContext } from "./context.ts";
import { pathTo } from "./context.ts";

export const TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"] as const;
export type TypeName = (typeof TYPES)[number];

/** Keywords that are about one type of value only. */
export const KEYWORDS_BY_TYPE = {
  object: [
    ...["properties", "required", "additionalProperties", "patternProperties", "propertyNames"],
    ...["minProperties", "maxProperties", "unevaluatedProperties"],
  ],
  array: ["items", "prefixItems", "additionalItems", "minItems", "maxItems", "unevaluatedItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"],
} as const;

/** What says something about a value of any type. */
export const GENERAL_KEYWORDS = ["type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref"] as const;

const ASSERTIONS = new Set<string>([...GENERAL_KEYWORDS, ...Object.values(KEYWORDS_BY_TYPE).flat()]);

const REFUSED = [
  ...["if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "contains"],
  ...["minContains", "maxContains", "$dynamicRef", "$recursiveRef"],
];

/** The schema says something about values. */
export function isAssertion(keyword: string): boolean {
  return ASSERTIONS.has(keyword);
}

/** @throws ApiError (400) for keywords that cannot be enforced, by name */
export function refuseUnsupported(schema: JsonObject, path: string, context: SchemaContext): void {
  for (const keyword of REFUSED) {
    if (Object.hasOwn(schema, keyword)) {
      throw context.refuse(pathTo(path, keyword), "is a keyword that cannot be enforced here; leave it out");
    }
  }
  if (schema.uniqueItems === true) {
    throw context.refuse(pathTo(path, "uniqueItems"), "cannot be enforced here; leave it out or set it to false");
  }
}
