/**
 * JSON's own syntax as expressions. One space may follow `:` and `,` and nothing else is blank: that is how models write
 * JSON on one line, and a model that may write any white space may write it for ever.
 */
import {
  chars,
  choice,
  type Expression,
  literal,
  optional,
  type Ranges,
  repeat,
  rule,
  ruleRef,
  sequence,
} from "./expression.ts";
import { ANY_CHARACTER, complement, intersection } from "./ranges.ts";

const SPACE = optional(literal(" "));
export const COMMA = sequence(literal(","), SPACE);
export const COLON = sequence(literal(":"), SPACE);

/** What stands in a string as it is. */
const PLAIN = complement([0x00, 0x1f, 0x22, 0x22, 0x5c, 0x5c]);

/** Characters that need an escape, by the one that JSON.stringify gives them. */
const ESCAPED = [...Array.from({ length: 0x20 }, (_, code) => code), 0x22, 0x5c].map((code): [number, string] => [
  code,
  JSON.stringify(String.fromCharCode(code)).slice(1, -1),
]);

const HEX = chars(0x30, 0x39, 0x41, 0x46, 0x61, 0x66);
const D = chars(0x44, 0x44, 0x64, 0x64);
const hex = (num: number) => repeat(HEX, num, num);
/** Code units that are no surrogates, and pairs that are one character. */
const UNICODE = choice(
  sequence(chars(0x30, 0x39, 0x41, 0x43, 0x45, 0x46, 0x61, 0x63, 0x65, 0x66), hex(3)),
  sequence(D, chars(0x30, 0x37), hex(2)),
  sequence(
    D,
    chars(0x38, 0x39, 0x41, 0x42, 0x61, 0x62),
    hex(2),
    literal("\\u"),
    D,
    chars(0x43, 0x46, 0x63, 0x66),
    hex(2),
  ),
);

/** One character of a string, in any of its spellings. */
export const STRING_CHARACTER = choice(
  { kind: "char", ranges: PLAIN },
  sequence(literal("\\"), choice(...Array.from('"\\/bfnrt', literal), sequence(literal("u"), UNICODE))),
);

const QUOTE = literal('"');

/** Any string. A rule, so that its tokens are told apart once for all places that have one. */
export const STRING = ruleRef(rule("string", sequence(QUOTE, repeat(STRING_CHARACTER, 0, null), QUOTE)));

/** A string with this content. */
export function quoted(content: Expression): Expression {
  return sequence(QUOTE, content, QUOTE);
}

const inString = new WeakMap<Ranges, Expression>();

/** One character of a set inside a string, in its one spelling: escaped only where it must be. */
export function stringCharacter(ranges: Ranges): Expression {
  const known = inString.get(ranges);
  if (known !== undefined) return known;
  const escapes = ESCAPED.filter(([code]) => intersection(ranges, [code, code]).length > 0);
  const plain = intersection(intersection(ranges, ANY_CHARACTER), PLAIN);
  const made = choice(
    ...(plain.length > 0 ? [{ kind: "char", ranges: plain } as const] : []),
    ...escapes.map(([, spelling]) => literal(spelling)),
  );
  inString.set(ranges, made);
  return made;
}

export const DIGIT = chars(0x30, 0x39);
const NATURAL = choice(literal("0"), sequence(chars(0x31, 0x39), repeat(DIGIT, 0, 14)));

/** Up to 15 digits on either side of the point and two of exponent: what a double holds, and an end to the digits. */
export const NUMBER = ruleRef(
  rule(
    "number",
    sequence(
      optional(literal("-")),
      NATURAL,
      optional(sequence(literal("."), repeat(DIGIT, 1, 15))),
      optional(sequence(chars(0x45, 0x45, 0x65, 0x65), optional(chars(0x2b, 0x2b, 0x2d, 0x2d)), repeat(DIGIT, 1, 2))),
    ),
  ),
);

export const NULL = literal("null");
export const BOOLEAN = choice(literal("true"), literal("false"));

/** `[` and `]` around items; `max` null = any number. */
export function arrayOf(item: Expression, min: number, max: number | null): Expression {
  return sequence(literal("["), separated(item, min, max), literal("]"));
}

/** Items with commas between them. */
export function separated(item: Expression, min: number, max: number | null): Expression {
  if (max === 0) return repeat(item, 0, 0);
  const more = repeat(sequence(COMMA, item), Math.max(0, min - 1), max === null ? null : max - 1);
  const all = sequence(item, more);
  return min === 0 ? optional(all) : all;
}

export function member(key: Expression, value: Expression): Expression {
  return sequence(key, COLON, value);
}

const valueRule = rule("value");

/** Any JSON value. */
export const VALUE = ruleRef(valueRule);

/** Any JSON object. */
export const OBJECT = ruleRef(
  rule("object", sequence(literal("{"), separated(member(STRING, VALUE), 0, null), literal("}"))),
);

/** Any JSON array. */
export const ARRAY = ruleRef(rule("array", arrayOf(VALUE, 0, null)));

valueRule.body = choice(OBJECT, ARRAY, STRING, NUMBER, BOOLEAN, NULL);
