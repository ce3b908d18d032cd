/** Whole numbers of a range as digits, also only the multiples of something. */
import { chars, choice, type Expression, literal, NEVER, NOTHING, repeat, sequence } from "../expression.ts";
import { DIGIT } from "../json-text.ts";

/** Integers from `low` to `high`, both safe, without a leading zero and without "-0". */
export function integersBetween(low: number, high: number, multipleOf = 1): Expression {
  const parts: Expression[] = [];
  const free: FreeDigits = new Map();
  if (low < 0) {
    parts.push(sequence(literal("-"), naturalsBetween(Math.max(1, -high), -low, multipleOf, free)));
  }
  if (high >= 0) parts.push(naturalsBetween(Math.max(0, low), high, multipleOf, free));
  return choice(...parts.filter((part) => !isNever(part)));
}

/** Digits that no bound touches, by how many there are and the remainder before them: the same for all lengths. */
type FreeDigits = Map<string, Expression>;

/** From 0 on. */
export function naturalsBetween(
  low: number,
  high: number,
  multipleOf: number,
  free: FreeDigits = new Map(),
): Expression {
  const options: Expression[] = [];
  const first = String(low);
  const last = String(high);
  if (low > high) return NEVER;
  for (let length = first.length; length <= last.length; length++) {
    const least = length === first.length ? first : `1${"0".repeat(length - 1)}`;
    const most = length === last.length ? last : "9".repeat(length);
    options.push(new DigitWriter(least, most, multipleOf, free).from(0, true, true, 0));
  }
  return choice(...options);
}

export function isNever(expression: Expression): boolean {
  return expression.kind === "never" || (expression.kind === "sequence" && expression.parts.some(isNever));
}

/** Digits of one length, compared with the bounds from the left; equal situations are one expression. */
class DigitWriter {
  readonly #least: string;
  readonly #most: string;
  readonly #multipleOf: number;
  readonly #lastNonZero: number;
  readonly #lastNonNine: number;
  readonly #memo = new Map<string, Expression>();
  readonly #free: FreeDigits;

  constructor(least: string, most: string, multipleOf: number, free: FreeDigits) {
    this.#free = free;
    this.#least = least;
    this.#most = most;
    this.#multipleOf = multipleOf;
    this.#lastNonZero = least.search(/[1-9]0*$/);
    this.#lastNonNine = most.search(/[0-8]9*$/);
  }

  /**
   * @param startsLeast the digits so far are those of the least number
   * @param startsMost the same with the greatest
   * @param remainder of the digits so far
   */
  from(at: number, startsLeast: boolean, startsMost: boolean, remainder: number): Expression {
    // Nothing is below zeros, and nothing above nines.
    const isLeast = startsLeast && this.#lastNonZero >= at;
    const isMost = startsMost && this.#lastNonNine >= at;
    const numLeft = this.#least.length - at;
    if (numLeft === 0) return remainder === 0 ? NOTHING : NEVER;
    if (!isLeast && !isMost && this.#multipleOf === 1) return repeat(DIGIT, numLeft, numLeft);
    const memo = isLeast || isMost ? this.#memo : this.#free;
    const key = `${numLeft}:${isLeast}:${isMost}:${remainder}`;
    const known = memo.get(key);
    if (known !== undefined) return known;
    const low = isLeast ? Number(this.#least[at]) : 0;
    const high = isMost ? Number(this.#most[at]) : 9;
    const byRest = new Map<Expression, number[]>();
    for (let digit = low; digit <= high; digit++) {
      const after = (remainder * 10 + digit) % this.#multipleOf;
      const rest = this.from(at + 1, isLeast && digit === low, isMost && digit === high, after);
      if (isNever(rest)) continue;
      byRest.set(rest, [...(byRest.get(rest) ?? []), digit]);
    }
    const made = choice(...[...byRest].map(([rest, digits]) => withDigits(digits, rest)));
    memo.set(key, made);
    return made;
  }
}

/** `rest` stays one object, so that it is compiled once. */
function withDigits(digits: readonly number[], rest: Expression): Expression {
  const first = chars(...digits.flatMap((digit) => [0x30 + digit, 0x30 + digit]));
  return { kind: "sequence", parts: [first, rest] };
}
