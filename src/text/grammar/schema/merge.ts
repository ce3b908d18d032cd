/** Two schemas that hold at once, as one. What cannot be said in one schema is refused by name. */
import { type JsonObject, objectOf } from "../../../protocol/json-values.ts";
import { pathTo, type SchemaContext } from "./context.ts";
import { isAssertion } from "./keywords.ts";

interface Place {
  path: string;
  context: SchemaContext;
}

type MergeValues = (a: unknown, b: unknown, refuse: () => Error) => unknown;

/** `false` as a result: nothing can hold. */
const NOTHING_HOLDS = Symbol("nothing holds");

const BY_KEYWORD: Readonly<Record<string, MergeValues>> = {
  type: mergeTypes,
  enum: mergeEnums,
  const: (a, b) => (textOf(a) === textOf(b) ? a : NOTHING_HOLDS),
  required: (a, b, refuse) => [...new Set([...list(a, refuse), ...list(b, refuse)])],
  minimum: greater,
  exclusiveMinimum: greater,
  minLength: greater,
  minItems: greater,
  minProperties: greater,
  maximum: smaller,
  exclusiveMaximum: smaller,
  maxLength: smaller,
  maxItems: smaller,
  maxProperties: smaller,
  multipleOf: mergeMultiples,
  items: both,
  unevaluatedProperties: both,
  anyOf: (a, b, refuse) => list(a, refuse).map((option) => ({ allOf: [option, { anyOf: b }] })),
  oneOf: (a, b, refuse) => list(a, refuse).map((option) => ({ allOf: [option, { oneOf: b }] })),
};

/** About the members of an object: which of them a keyword means depends on the others. */
const MEMBERS = ["properties", "additionalProperties", "patternProperties", "propertyNames"];

/** The same for tuples. */
const TUPLE = ["prefixItems", "additionalItems"];

export function merge(a: JsonObject, b: JsonObject, place: Place): JsonObject | false {
  const merged: JsonObject = {};
  refuseTuples(a, b, place);
  for (const keyword of new Set([...Object.keys(a), ...Object.keys(b)])) {
    if (MEMBERS.includes(keyword)) continue;
    const value = mergeValue(keyword, a, b, place);
    if (value === NOTHING_HOLDS) return false;
    if (value !== undefined) merged[keyword] = value;
  }
  return { ...merged, ...mergeMembers(a, b, place) };
}

function mergeValue(keyword: string, a: JsonObject, b: JsonObject, place: Place): unknown {
  if (!Object.hasOwn(b, keyword)) return a[keyword];
  if (!Object.hasOwn(a, keyword) || !isAssertion(keyword)) return b[keyword];
  const refuse = () =>
    place.context.refuse(pathTo(place.path, keyword), "stands twice in what has to hold at once, and cannot be merged");
  const how = BY_KEYWORD[keyword];
  if (how !== undefined) return how(a[keyword], b[keyword], refuse);
  if (textOf(a[keyword]) === textOf(b[keyword])) return a[keyword];
  throw refuse();
}

function mergeMembers(a: JsonObject, b: JsonObject, place: Place): JsonObject {
  const [left, right] = [membersOf(a), membersOf(b)];
  if (!left.isThere) return right.own;
  if (!right.isThere) return left.own;
  for (const keyword of ["patternProperties", "propertyNames"]) {
    if (textOf(a[keyword]) === textOf(b[keyword])) continue;
    throw place.context.refuse(
      pathTo(place.path, keyword),
      "cannot be merged with the properties of what holds beside it",
    );
  }
  const properties: JsonObject = {};
  for (const name of new Set([...Object.keys(left.properties), ...Object.keys(right.properties)])) {
    const [one, other] = [left.schemaOf(name), right.schemaOf(name)];
    const value = one === undefined ? other : other === undefined ? one : both(one, other);
    // Plain assignment would set the prototype for the name `__proto__`.
    Object.defineProperty(properties, name, { value, enumerable: true, configurable: true, writable: true });
  }
  const merged: JsonObject = { ...right.own, ...left.own };
  if (Object.keys(properties).length > 0) merged.properties = properties;
  if (left.rest !== undefined && right.rest !== undefined) merged.additionalProperties = both(left.rest, right.rest);
  return merged;
}

function membersOf(schema: JsonObject) {
  const own = Object.fromEntries(
    MEMBERS.filter((keyword) => Object.hasOwn(schema, keyword)).map((key) => [key, schema[key]]),
  );
  const properties = objectOf(schema.properties) ?? {};
  const rest = schema.additionalProperties;
  return {
    own,
    isThere: Object.keys(own).length > 0,
    properties,
    rest,
    schemaOf: (name: string): unknown => (Object.hasOwn(properties, name) ? properties[name] : rest),
  };
}

function refuseTuples(a: JsonObject, b: JsonObject, { path, context }: Place): void {
  const isTuple = (one: JsonObject) => TUPLE.some((key) => Object.hasOwn(one, key)) || Array.isArray(one.items);
  const hasItems = (one: JsonObject) => isTuple(one) || Object.hasOwn(one, "items");
  if (!(isTuple(a) && hasItems(b)) && !(isTuple(b) && hasItems(a))) return;
  throw context.refuse(pathTo(path, "prefixItems"), "cannot be merged with the items of what holds beside it");
}

/** Merged when it is needed. */
function both(a: unknown, b: unknown): unknown {
  if (a === false || b === false) return false;
  if (a === true || textOf(a) === textOf(b)) return b;
  return b === true ? a : { allOf: [a, b] };
}

function mergeTypes(a: unknown, b: unknown): unknown {
  const [left, right] = [names(a), names(b)];
  const shared = left.flatMap((type) => {
    if (right.includes(type)) return [type];
    if (type === "integer") return right.includes("number") ? ["integer"] : [];
    return type === "number" && right.includes("integer") ? ["integer"] : [];
  });
  if (shared.length === 0) return NOTHING_HOLDS;
  return shared.length === 1 ? shared[0] : [...new Set(shared)];
}

function names(type: unknown): unknown[] {
  return Array.isArray(type) ? type : [type];
}

function mergeEnums(a: unknown, b: unknown, refuse: () => Error): unknown {
  const known = new Set(list(b, refuse).map(textOf));
  const shared = list(a, refuse).filter((value) => known.has(textOf(value)));
  return shared.length === 0 ? NOTHING_HOLDS : shared;
}

function mergeMultiples(a: unknown, b: unknown, refuse: () => Error): unknown {
  if (a === b) return a;
  if (typeof a !== "number" || typeof b !== "number" || !Number.isSafeInteger(a) || !Number.isSafeInteger(b))
    throw refuse();
  let [x, y] = [a, b];
  while (y > 0) [x, y] = [y, x % y];
  const multiple = (a / x) * b;
  if (!Number.isSafeInteger(multiple)) throw refuse();
  return multiple;
}

function greater(a: unknown, b: unknown, refuse: () => Error): unknown {
  if (typeof a !== "number" || typeof b !== "number") throw refuse();
  return Math.max(a, b);
}

function smaller(a: unknown, b: unknown, refuse: () => Error): unknown {
  if (typeof a !== "number" || typeof b !== "number") throw refuse();
  return Math.min(a, b);
}

function list(value: unknown, refuse: () => Error): unknown[] {
  if (!Array.isArray(value)) throw refuse();
  return value;
}

/** To compare by; members in another order count as different, which only allows less. */
function textOf(value: unknown): string | undefined {
  return JSON.stringify(value);
}
