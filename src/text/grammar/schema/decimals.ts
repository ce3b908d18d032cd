/**
 * Numbers of a range in decimals. Exact: digits are compared with the bounds' own digits, and no number has more than 15,
 * so that none can round onto an excluded bound.
 */
import { chars, choice, type Expression, literal, NEVER, NOTHING, optional, repeat, sequence } from "../expression.ts";
import { DIGIT } from "../json-text.ts";
import { isNever, naturalsBetween } from "./digits.ts";

const DIGITS_MAX = 15;

export interface Bound {
  value: number;
  /** The value itself is no longer inside. */
  isExclusive: boolean;
}

/** Beyond 10^15 nothing is written. */
const MOST: Bound = { value: 1e15, isExclusive: true };

/** @returns null where a bound has no decimal digits to compare with */
export function decimalsBetween(low: Bound | null, high: Bound | null): Expression | null {
  const least = low ?? { value: -MOST.value, isExclusive: true };
  const most = high ?? MOST;
  if (decimal(least.value) === null || decimal(most.value) === null) return null;
  const parts: Expression[] = [];
  if (least.value < 0) {
    // Zero is written without a sign.
    const upper = most.value < 0 ? negated(most) : { value: 0, isExclusive: true };
    parts.push(sequence(literal("-"), positives(upper, negated(least))));
  }
  if (most.value >= 0) parts.push(positives(least.value < 0 ? { value: 0, isExclusive: false } : least, most));
  return choice(...parts.filter((part) => !isNever(part)));
}

function negated({ value, isExclusive }: Bound): Bound {
  return { value: -value, isExclusive };
}

/** [digits before the point, digits behind it without trailing zeros], or null where a double is written with an exponent
 * too small to spell out. */
function decimal(value: number): [whole: string, fraction: string] | null {
  const size = Math.abs(value);
  const text = size >= 1e15 ? "1000000000000000" : String(size);
  if (text.includes("e")) return null;
  const [whole = "0", fraction = ""] = text.split(".");
  return [whole, fraction];
}

function positives(low: Bound, high: Bound): Expression {
  const [lowWhole, lowFraction] = decimal(low.value)!;
  const [highWhole, highFraction] = decimal(high.value)!;
  const first = Number(lowWhole);
  const last = Number(highWhole);
  const lower = { digits: lowFraction, isExclusive: low.isExclusive };
  const upper = { digits: highFraction, isExclusive: high.isExclusive };
  if (first > last) return NEVER;
  if (first === last) return sequence(literal(lowWhole), fractions(lower, upper, roomFor(lowWhole)));
  const parts = [
    sequence(literal(lowWhole), fractions(lower, null, roomFor(lowWhole))),
    sequence(literal(highWhole), fractions(null, upper, roomFor(highWhole))),
    ...between(first + 1, last - 1),
  ];
  return choice(...parts.filter((part) => !isNever(part)));
}

/** Any fraction behind whole numbers of each length. */
function between(first: number, last: number): Expression[] {
  const parts: Expression[] = [];
  for (let numDigits = 1; numDigits <= DIGITS_MAX; numDigits++) {
    const least = Math.max(first, numDigits === 1 ? 0 : 10 ** (numDigits - 1));
    const most = Math.min(last, 10 ** numDigits - 1);
    if (least > most) continue;
    const room = DIGITS_MAX - numDigits;
    const fraction = room === 0 ? NOTHING : optional(sequence(literal("."), repeat(DIGIT, 1, room)));
    parts.push(sequence(naturalsBetween(least, most, 1), fraction));
  }
  return parts;
}

function roomFor(whole: string): number {
  return Math.max(0, DIGITS_MAX - whole.length);
}

interface FractionBound {
  digits: string;
  isExclusive: boolean;
}

/** What may stand behind a whole number, the point included. */
function fractions(low: FractionBound | null, high: FractionBound | null, room: number): Expression {
  const digits = nextDigits(low, high, 0, room);
  const parts = isNever(digits) ? [] : [sequence(literal("."), digits)];
  if (mayEnd(low, high, 0)) parts.push(NOTHING);
  return choice(...parts);
}

/** The digits so far are those of the bounds that are given. */
function mayEnd(low: FractionBound | null, high: FractionBound | null, at: number): boolean {
  const isLowest = low !== null && low.digits.slice(at) === "";
  const isHighest = high !== null && high.digits.slice(at) === "";
  if (low !== null && (!isLowest || low.isExclusive)) return false;
  return !(isHighest && high.isExclusive);
}

/** At least one more digit, at most `room` in all. */
function nextDigits(low: FractionBound | null, high: FractionBound | null, at: number, room: number): Expression {
  if (at >= room) return NEVER;
  if (low === null && high === null) return repeat(DIGIT, 1, room - at);
  const least = low === null ? 0 : Number(low.digits[at] ?? 0);
  const most = high === null ? 9 : Number(high.digits[at] ?? 0);
  const parts: Expression[] = [];
  const free = [least + (low === null ? 0 : 1), most - (high === null ? 0 : 1)] as const;
  if (free[0] <= free[1]) {
    parts.push(sequence(chars(0x30 + free[0], 0x30 + free[1]), repeat(DIGIT, 0, room - at - 1)));
  }
  if (low !== null && high !== null && least === most) parts.push(afterDigit(least, low, high, at, room));
  else {
    if (low !== null && least <= most) parts.push(afterDigit(least, low, null, at, room));
    if (high !== null && least <= most) parts.push(afterDigit(most, null, high, at, room));
  }
  return choice(...parts.filter((part) => !isNever(part)));
}

function afterDigit(
  digit: number,
  low: FractionBound | null,
  high: FractionBound | null,
  at: number,
  room: number,
): Expression {
  const more = nextDigits(low, high, at + 1, room);
  const rest = mayEnd(low, high, at + 1) ? choice(more, NOTHING) : more;
  return sequence(literal(String(digit)), rest);
}
