/**
 * The slow, plain way to run an expression: what is left of it after a byte is an expression again (Brzozowski's
 * derivatives). Characters have to be few, because each is written out.
 */
import {
  choice,
  type Expression,
  literal,
  NEVER,
  NOTHING,
  type Rule,
  repeat,
  sequence,
} from "../../../../src/text/grammar/expression.ts";

export function matchesEmpty(expression: Expression, within: ReadonlySet<Rule> = new Set()): boolean {
  switch (expression.kind) {
    case "bytes":
      return expression.bytes.length === 0;
    case "sequence":
      return expression.parts.every((part) => matchesEmpty(part, within));
    case "choice":
      return expression.options.some((option) => matchesEmpty(option, within));
    case "repeat":
      return expression.min === 0 || matchesEmpty(expression.item, within);
    case "rule":
      return !within.has(expression.rule) && matchesEmpty(expression.rule.body!, new Set([...within, expression.rule]));
    default:
      return false;
  }
}

/** Some text matches. */
export function matchesSome(expression: Expression, within: ReadonlySet<Rule> = new Set()): boolean {
  switch (expression.kind) {
    case "never":
      return false;
    case "char":
      return expression.ranges.length > 0;
    case "sequence":
      return expression.parts.every((part) => matchesSome(part, within));
    case "choice":
      return expression.options.some((option) => matchesSome(option, within));
    case "repeat":
      return expression.min === 0 || matchesSome(expression.item, within);
    case "rule":
      return !within.has(expression.rule) && matchesSome(expression.rule.body!, new Set([...within, expression.rule]));
    default:
      return true;
  }
}

export function derivative(expression: Expression, byte: number): Expression {
  switch (expression.kind) {
    case "never":
      return NEVER;
    case "bytes":
      return expression.bytes[0] === byte ? { kind: "bytes", bytes: expression.bytes.slice(1) } : NEVER;
    case "char":
      return derivative(choice(...charactersOf(expression.ranges).map(literal)), byte);
    case "sequence": {
      const [head, ...rest] = expression.parts;
      if (head === undefined) return NEVER;
      const first = sequence(derivative(head, byte), ...rest);
      return matchesEmpty(head) ? distinct([first, derivative(sequence(...rest), byte)]) : first;
    }
    case "choice":
      return distinct(expression.options.map((option) => derivative(option, byte)));
    case "repeat": {
      const { item, min, max } = expression;
      const rest = repeat(item, Math.max(0, min - 1), max === null ? null : max - 1);
      const once = sequence(derivative(item, byte), max === 1 ? NOTHING : rest);
      // An item that may be empty may be left out, so that a later one takes the byte: it is the same item.
      return once;
    }
    case "rule":
      return derivative(expression.rule.body!, byte);
    default:
      throw new Error(`Not for ${expression.kind}.`);
  }
}

/** Counts inside counts: this way is too slow for it. */
export class TooAmbiguous extends Error {}

const ALTERNATIVES_MAX = 60;

/** Alternatives each once: without that they double with every byte. */
function distinct(options: readonly Expression[]): Expression {
  const flat = options.flatMap((option) => (option.kind === "choice" ? option.options : [option]));
  if (flat.length > ALTERNATIVES_MAX) throw new TooAmbiguous();
  return choice(...new Map(flat.map((option) => [keyOf(option), option])).values());
}

function keyOf(expression: Expression): string {
  switch (expression.kind) {
    case "bytes":
      return `b${expression.bytes.join()}`;
    case "char":
      return `c${expression.ranges.join()}`;
    case "sequence":
      return `(${expression.parts.map(keyOf).join(" ")})`;
    case "choice":
      return `[${expression.options.map(keyOf).join("|")}]`;
    case "repeat":
      return `${keyOf(expression.item)}{${expression.min},${expression.max}}`;
    case "rule":
      return expression.rule.name;
    default:
      return expression.kind;
  }
}

function charactersOf(ranges: readonly number[]): string[] {
  const out: string[] = [];
  for (let i = 0; i < ranges.length; i += 2) {
    for (let code = ranges[i]!; code <= ranges[i + 1]!; code++) out.push(String.fromCodePoint(code));
  }
  return out;
}
