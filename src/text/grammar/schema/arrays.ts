/** `array`: a list of one kind of items, or a tuple with more of them behind it. */
import type { JsonObject } from "../../../protocol/json-values.ts";
import { type Expression, literal, NEVER, NOTHING, optional, repeat, sequence } from "../expression.ts";
import { arrayOf, COMMA, VALUE } from "../json-text.ts";
import { pathTo, type SchemaContext } from "./context.ts";
import { KeywordReader } from "./read.ts";
import type { CompileSchema } from "./schema.ts";

export function arrayExpression(
  { schema, path }: { schema: JsonObject; path: string },
  context: SchemaContext,
  compile: CompileSchema,
  depth: number,
): Expression {
  const reader = new KeywordReader(schema, path, context);
  if (reader.has("unevaluatedItems")) {
    throw context.refuse(pathTo(path, "unevaluatedItems"), "is a keyword that cannot be enforced here; use 'items'");
  }
  const min = reader.count("minItems") ?? 0;
  const max = reader.count("maxItems");
  if (max !== null && max < min) return NEVER;
  // Draft-07 writes a tuple as `items: […]`, and what follows it as `additionalItems`.
  const isOldTuple = Array.isArray(schema.items);
  const firstKey = isOldTuple ? "items" : "prefixItems";
  const restKey = isOldTuple ? "additionalItems" : "items";
  const compileAt = (one: unknown, ...names: (string | number)[]) =>
    compile({ schema: one, path: names.reduce(pathTo, path) }, depth + 1);
  const first = (reader.list(firstKey) ?? []).map((one, i) => compileAt(one, firstKey, i));
  const rest = reader.has(restKey) ? compileAt(schema[restKey], restKey) : null;
  if (first.length === 0) return rest?.kind === "never" ? empty(min) : arrayOf(rest ?? VALUE, min, max);
  return tuple(first, rest, min, max);
}

function empty(min: number): Expression {
  return min === 0 ? literal("[]") : NEVER;
}

/** Without a word about what follows a tuple, only what `minItems` asks for follows. */
function tuple(first: readonly Expression[], rest: Expression | null, min: number, max: number | null): Expression {
  const numMore = max === null ? null : Math.max(0, max - first.length);
  const numMoreMin = Math.max(0, min - first.length);
  let tail = repeat(sequence(COMMA, rest ?? VALUE), numMoreMin, rest === null ? numMoreMin : numMore);
  const places = max === null ? first : first.slice(0, max);
  for (let i = places.length - 1; i >= 0; i--) {
    // Nested, so that each tail is one object and compiled once.
    const item: Expression = { kind: "sequence", parts: [i === 0 ? NOTHING : COMMA, places[i]!, tail] };
    const isPossible = places[i]!.kind !== "never" && tail.kind !== "never";
    if (!isPossible) tail = i < min ? NEVER : NOTHING;
    else tail = i < min ? item : optional(item);
  }
  return tail.kind === "never" ? NEVER : sequence(literal("["), tail, literal("]"));
}
