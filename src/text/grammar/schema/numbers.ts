/** `integer` and `number` with their bounds. */
import type { JsonObject } from "../../../protocol/json-values.ts";
import { ENUM_VALUES_MAX, MULTIPLE_OF_MAX } from "../../../protocol/limits.ts";
import { choice, type Expression, literal, NEVER, sequence } from "../expression.ts";
import { pathTo, type SchemaContext } from "./context.ts";
import { type Bound, decimalsBetween } from "./decimals.ts";
import { integersBetween } from "./digits.ts";
import { KeywordReader } from "./read.ts";

interface Bounds {
  low: Bound | null;
  high: Bound | null;
}

/** Where nothing is said, integers have up to 15 digits: exact in a double, and an end to the digits. */
const INTEGER_MAX = 999_999_999_999_999;

export function numberExpression(
  { schema, path }: { schema: JsonObject; path: string },
  isInteger: boolean,
  context: SchemaContext,
): Expression {
  const reader = new KeywordReader(schema, path, context);
  const bounds = boundsOf(reader);
  const multipleOf = multipleOfIn(reader, isInteger);
  // A multiple of a whole number is a whole number.
  if (isInteger || multipleOf !== null) return integers(bounds, multipleOf ?? 1, reader);
  const decimals = decimalsBetween(bounds.low, bounds.high);
  if (decimals !== null) return decimals;
  throw context.refuse(path, "has a bound so near to 0 that it cannot be enforced; use one of at least 0.000001");
}

/** Of draft 4, where `exclusiveMinimum: true` is about `minimum`, too. */
function boundsOf(reader: KeywordReader): Bounds {
  const bound = (keyword: "Minimum" | "Maximum"): Bound | null => {
    const name = keyword.toLowerCase();
    const exclusive = `exclusive${keyword}`;
    const value = reader.number(name);
    const flag = reader.schema[exclusive];
    if (typeof flag === "boolean") return value === null ? null : { value, isExclusive: flag };
    const beyond = reader.number(exclusive);
    if (beyond === null) return value === null ? null : { value, isExclusive: false };
    if (value === null) return { value: beyond, isExclusive: true };
    const isTighter = keyword === "Minimum" ? beyond >= value : beyond <= value;
    return isTighter ? { value: beyond, isExclusive: true } : { value, isExclusive: false };
  };
  return { low: bound("Minimum"), high: bound("Maximum") };
}

function multipleOfIn(reader: KeywordReader, isInteger: boolean): number | null {
  const value = reader.number("multipleOf");
  if (value === null) return null;
  const path = pathTo(reader.path, "multipleOf");
  if (value <= 0) throw reader.context.refuse(path, "has to be greater than 0", "invalid_schema");
  // Every integer is a multiple of 1/n; of other fractions it depends on rounding.
  if (isInteger && Number.isInteger(1 / value)) return 1;
  if (Number.isSafeInteger(value)) return value;
  throw reader.context.refuse(path, "is a fraction, which cannot be enforced; use a whole number");
}

function integers({ low, high }: Bounds, multipleOf: number, reader: KeywordReader): Expression {
  const least = low === null ? -INTEGER_MAX : Math.max(-Number.MAX_SAFE_INTEGER, atLeast(low));
  const most =
    high === null ? INTEGER_MAX : Math.min(Number.MAX_SAFE_INTEGER, -atLeast({ ...high, value: -high.value }));
  // A bound beyond the digits that are written without one: there are some all the same.
  const [from, to] = [
    low === null && most < least ? -Number.MAX_SAFE_INTEGER : least,
    high === null && most < least ? Number.MAX_SAFE_INTEGER : most,
  ];
  if (from > to) return NEVER;
  if (multipleOf === 1) return integersBetween(from, to);
  const first = Math.ceil(from / multipleOf);
  const last = Math.floor(to / multipleOf);
  if (first > last) return NEVER;
  if (last - first < ENUM_VALUES_MAX) {
    return choice(
      ...Array.from({ length: last - first + 1 }, (_, i) => literal(String((first + i) * multipleOf || 0))),
    );
  }
  return multiples(from, to, multipleOf, reader);
}

/** The least integer that the bound allows. */
function atLeast({ value, isExclusive }: Bound): number {
  const least = Math.ceil(value);
  return isExclusive && least === value ? least + 1 : least;
}

/** Factors of ten are zeros at the end; for the rest remainders are tracked. */
function multiples(from: number, to: number, multipleOf: number, reader: KeywordReader): Expression {
  let numZeros = 0;
  let factor = multipleOf;
  for (; factor % 10 === 0; factor /= 10) numZeros++;
  if (factor > MULTIPLE_OF_MAX) {
    throw reader.context.refuse(
      pathTo(reader.path, "multipleOf"),
      `is ${multipleOf}; without its zeros it may be up to ${MULTIPLE_OF_MAX}, unless the range is small`,
    );
  }
  if (numZeros === 0) return integersBetween(from, to, factor);
  const scale = 10 ** numZeros;
  const zeros = literal("0".repeat(numZeros));
  const low = Math.ceil(from / scale);
  const high = Math.floor(to / scale);
  return choice(
    low < 0 ? sequence(integersBetween(low, Math.min(high, -1), factor), zeros) : NEVER,
    low <= 0 && high >= 0 ? literal("0") : NEVER,
    high > 0 ? sequence(integersBetween(Math.max(low, 1), high, factor), zeros) : NEVER,
  );
}
