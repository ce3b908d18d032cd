/** `enum` and `const`: whole values, of which those count that the other keywords allow. */
import { type JsonObject, objectOf } from "../../../protocol/json-values.ts";
import { checkNumChars, checkNumValues } from "../choice.ts";
import { choice, type Expression, literal } from "../expression.ts";
import { pathTo, type SchemaContext } from "./context.ts";
import { KEYWORDS_BY_TYPE, type TypeName } from "./keywords.ts";
import { KeywordReader } from "./read.ts";
import { typesOf } from "./schema.ts";

/** Keywords that are checked here beside a value's type. */
const CHECKED = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength"];

export function valuesExpression(schema: JsonObject, path: string, context: SchemaContext): Expression {
  const reader = new KeywordReader(schema, path, context);
  const values = finiteValues(reader);
  const keyword = reader.has("enum") ? "enum" : "const";
  const texts = values.map((value) => JSON.stringify(value));
  checkNumChars(texts, pathTo(path, keyword));
  return choice(...texts.map(literal));
}

/** The values that `enum`, `const` and what stands beside them leave. */
export function finiteValues(reader: KeywordReader): unknown[] {
  const listed = reader.list("enum");
  if (listed !== null) checkNumValues(listed.length, pathTo(reader.path, "enum"));
  const isConst = reader.has("const");
  const constant = reader.schema.const;
  const values = listed ?? [constant];
  const both = isConst && listed !== null ? values.filter((value) => sameValue(value, constant)) : values;
  for (const keyword of Object.values(KEYWORDS_BY_TYPE).flat()) {
    if (!reader.has(keyword) || CHECKED.includes(keyword)) continue;
    // About another type than the values have, it says nothing.
    const type = Object.entries(KEYWORDS_BY_TYPE).find(([, keywords]) =>
      (keywords as readonly string[]).includes(keyword),
    )![0];
    if (!both.some((value) => isOfType(value, type as TypeName))) continue;
    throw reader.context.refuse(
      pathTo(reader.path, keyword),
      "cannot be enforced beside 'enum' or 'const'; leave it out",
    );
  }
  const types = reader.has("type") ? typesOf(reader.schema, reader.path, reader.context) : null;
  return both.filter((value) => (types?.some((type) => isOfType(value, type)) ?? true) && isWithin(value, reader));
}

function isWithin(value: unknown, reader: KeywordReader): boolean {
  if (typeof value === "number") {
    const low = reader.schema.exclusiveMinimum;
    const high = reader.schema.exclusiveMaximum;
    const min = reader.number("minimum") ?? Number.NEGATIVE_INFINITY;
    const max = reader.number("maximum") ?? Number.POSITIVE_INFINITY;
    if (value < min || value > max) return false;
    if (low === true ? value === min : typeof low === "number" && value <= low) return false;
    return !(high === true ? value === max : typeof high === "number" && value >= high);
  }
  if (typeof value !== "string") return true;
  const length = Array.from(value).length;
  return length >= (reader.count("minLength") ?? 0) && length <= (reader.count("maxLength") ?? length);
}

export function isOfType(value: unknown, type: TypeName): boolean {
  switch (type) {
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return objectOf(value) !== null;
    case "integer":
      return Number.isInteger(value);
    default:
      return typeof value === type;
  }
}

/** As JSON compares them: the order of members means nothing. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, i) => sameValue(one, b[i]));
  const [left, right] = [objectOf(a), objectOf(b)];
  if (left === null || right === null) return a === b;
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  return keys.every((key) => Object.hasOwn(right, key) && sameValue(left[key], right[key]));
}
