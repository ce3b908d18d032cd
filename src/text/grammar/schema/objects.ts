/**
 * `object`: the declared properties in the schema's order, optional ones may be left out, then others where
 * `additionalProperties` says what they are. A declared name comes at most once.
 */
import { type JsonObject, objectOf } from "../../../protocol/json-values.ts";
import { SCHEMA_NAME_CHARS_MAX, SCHEMA_PROPERTIES_MAX } from "../../../protocol/limits.ts";
import { type Expression, literal, NEVER, NOTHING, optional, repeat, sequence } from "../expression.ts";
import { COMMA, member, STRING, separated, VALUE } from "../json-text.ts";
import { type Located, ownValue, pathTo, type SchemaContext } from "./context.ts";
import { otherNames, patternName } from "./names.ts";
import { KeywordReader } from "./read.ts";
import type { CompileSchema } from "./schema.ts";

interface Property {
  expression: Expression;
  isRequired: boolean;
}

interface ObjectParts {
  reader: KeywordReader;
  compile: (schema: unknown, ...names: (string | number)[]) => Expression;
}

export function objectExpression(
  { schema, path }: { schema: JsonObject; path: string },
  context: SchemaContext,
  compile: CompileSchema,
  depth: number,
): Expression {
  const parts: ObjectParts = {
    reader: new KeywordReader(schema, path, context),
    compile: (one, ...names) => {
      const located: Located = { schema: one, path: names.reduce(pathTo, path) };
      return compile(located, depth + 1);
    },
  };
  const declared = declaredNames(parts.reader);
  if (declared.length === 0) return freeObject(parts);
  checkCounts(parts.reader, declared.length);
  checkNames(parts.reader, declared);
  const properties = declared.map(({ name, isRequired }) => property(name, isRequired, parts));
  const inner = members(properties, otherMember(declared, parts));
  return inner.kind === "never" ? NEVER : sequence(literal("{"), inner, literal("}"));
}

interface Declared {
  name: string;
  isRequired: boolean;
}

/** Those of `properties` in their order, then those that are only required. */
function declaredNames(reader: KeywordReader): Declared[] {
  const properties = reader.object("properties") ?? {};
  const required = reader.list("required") ?? [];
  if (!required.every((name) => typeof name === "string")) {
    throw reader.context.refuse(pathTo(reader.path, "required"), "has to be a list of names", "invalid_schema");
  }
  const names = [...new Set([...Object.keys(properties), ...required])];
  if (names.length > SCHEMA_PROPERTIES_MAX) {
    throw reader.context.refuse(
      pathTo(reader.path, "properties"),
      `are ${names.length} names; the limit is ${SCHEMA_PROPERTIES_MAX}`,
      "schema_too_large",
    );
  }
  const long = names.find((name) => name.length > SCHEMA_NAME_CHARS_MAX);
  if (long !== undefined) {
    throw reader.context.refuse(
      pathTo(pathTo(reader.path, "properties"), long),
      `is a name of ${long.length} characters; the limit is ${SCHEMA_NAME_CHARS_MAX}`,
      "schema_too_large",
    );
  }
  const isRequired = new Set(required);
  return names.map((name) => ({ name, isRequired: isRequired.has(name) }));
}

function property(name: string, isRequired: boolean, { reader, compile }: ObjectParts): Property {
  const own = ownValue(objectOf(reader.schema.properties), name);
  const value = own === undefined ? undeclared(name, { reader, compile }) : compile(own, "properties", name);
  const expression = value.kind === "never" ? NEVER : member(literal(JSON.stringify(name)), value);
  return { expression, isRequired };
}

/** Required, and described by nothing but `additionalProperties`. */
function undeclared(name: string, { reader, compile }: ObjectParts): Expression {
  if (reader.has("patternProperties")) {
    throw reader.context.refuse(
      pathTo(reader.path, "required"),
      `has the name ${JSON.stringify(name.slice(0, 60))}, which 'properties' lacks; beside 'patternProperties' declare it there`,
    );
  }
  const rest = restKeyword(reader);
  return rest === null ? VALUE : compile(reader.schema[rest], rest);
}

function restKeyword(reader: KeywordReader): "additionalProperties" | "unevaluatedProperties" | null {
  if (reader.has("additionalProperties")) return "additionalProperties";
  return reader.has("unevaluatedProperties") ? "unevaluatedProperties" : null;
}

/** Other members, or null. Where nothing is said of them, and beside patterns, none is written. */
function otherMember(declared: readonly Declared[], { reader, compile }: ObjectParts): Expression | null {
  const rest = restKeyword(reader);
  if (rest === null || reader.has("patternProperties") || reader.schema[rest] === false) return null;
  if (reader.has("propertyNames") && !isAnyName(reader.schema.propertyNames)) return null;
  const value = compile(reader.schema[rest], rest);
  return value.kind === "never" ? null : member(otherNames(declared.map(({ name }) => name)), value);
}

/** `propertyNames` beside declared ones: where it lists names, all of them have to be there. */
function checkNames(reader: KeywordReader, declared: readonly Declared[]): void {
  if (!reader.has("propertyNames") || isAnyName(reader.schema.propertyNames)) return;
  const listed = objectOf(reader.schema.propertyNames)?.enum;
  if (Array.isArray(listed) && declared.every(({ name }) => listed.includes(name))) return;
  throw reader.context.refuse(
    pathTo(reader.path, "propertyNames"),
    "cannot be enforced beside 'properties'; leave it out",
  );
}

function isAnyName(schema: unknown): boolean {
  const object = objectOf(schema);
  return (
    schema === true || (object !== null && Object.keys(object).every((key) => key === "type" || key === "description"))
  );
}

/** Every tail is one object that is compiled once; with nothing before it, it begins without a comma. */
function members(properties: readonly Property[], other: Expression | null): Expression {
  const others = other === null ? NOTHING : repeat(sequence(COMMA, other), 0, null);
  let later: Expression = others;
  let first: Expression = other === null ? NOTHING : optional(sequence(other, others));
  for (const { expression, isRequired } of properties.toReversed()) {
    if (expression.kind === "never") {
      if (isRequired) return NEVER;
      continue;
    }
    const here: Expression = { kind: "sequence", parts: [expression, later] };
    first = isRequired ? here : { kind: "choice", options: [here, first] };
    const again = sequence(COMMA, expression);
    later = { kind: "sequence", parts: [isRequired ? again : optional(again), later] };
  }
  return first;
}

/** Names of any kind, or of those that `propertyNames` or one pattern allow. */
function freeObject(parts: ObjectParts): Expression {
  const { reader, compile } = parts;
  const min = reader.count("minProperties") ?? 0;
  if (min > 1) throw reader.context.refuse(pathTo(reader.path, "minProperties"), "can be 0 or 1 where names are free");
  const max = reader.count("maxProperties");
  if (max !== null && max < min) return NEVER;
  const patterns = Object.entries(reader.object("patternProperties") ?? {});
  const rest = restKeyword(reader);
  const isClosed = rest !== null && reader.schema[rest] === false;
  if (patterns.length === 0 && isClosed) return min === 0 ? literal("{}") : NEVER;
  const [pattern] = patterns;
  const entry =
    pattern === undefined
      ? member(freeName(parts), rest === null ? VALUE : compile(reader.schema[rest], rest))
      : patternMember(patterns, parts);
  if (entry.kind === "never") return min === 0 ? literal("{}") : NEVER;
  return sequence(literal("{"), separated(entry, min, max), literal("}"));
}

function freeName({ reader, compile }: ObjectParts): Expression {
  if (!reader.has("propertyNames") || isAnyName(reader.schema.propertyNames)) return STRING;
  const names = objectOf(reader.schema.propertyNames);
  // A name is a string without it being said.
  return compile(names === null ? reader.schema.propertyNames : { ...names, type: "string" }, "propertyNames");
}

function patternMember(patterns: readonly [string, unknown][], { reader, compile }: ObjectParts): Expression {
  const path = pathTo(reader.path, "patternProperties");
  if (patterns.length > 1) throw reader.context.refuse(path, "can have one pattern; a name may match several");
  if (reader.has("propertyNames") && !isAnyName(reader.schema.propertyNames)) {
    throw reader.context.refuse(path, "cannot be enforced beside 'propertyNames'; leave one out");
  }
  const [pattern, schema] = patterns[0]!;
  const value = compile(schema, "patternProperties", pattern);
  return value.kind === "never" ? NEVER : member(patternName(pattern, pathTo(path, pattern)), value);
}

/** Beside declared properties only bounds that hold anyway. */
function checkCounts(reader: KeywordReader, numDeclared: number): void {
  const min = reader.count("minProperties") ?? 0;
  const max = reader.count("maxProperties");
  const numRequired = new Set(reader.list("required") ?? []).size;
  if (min > Math.max(numRequired, 0)) {
    throw reader.context.refuse(
      pathTo(reader.path, "minProperties"),
      "cannot be enforced beside 'properties'; say which are required",
    );
  }
  const isOpen = restKeyword(reader) !== null && reader.schema[restKeyword(reader)!] !== false;
  if (max !== null && (max < numDeclared || isOpen)) {
    throw reader.context.refuse(
      pathTo(reader.path, "maxProperties"),
      "cannot be enforced beside 'properties'; leave it out",
    );
  }
}
