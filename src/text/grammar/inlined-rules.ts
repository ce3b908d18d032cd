/**
 * Rules so small that a call costs more than a copy: a digit, a character of a string, an escape. Inlined, a string
 * of GBNF is one loop whose tokens are told apart once, wherever it stands; called for each character it is not.
 */
import type { Expression, Rule } from "./expression.ts";
import { childrenOf } from "./nullable.ts";

/** Parts of a rule that is copied, and how deep rules in rules may be. */
const PARTS_MAX = 24;
const DEPTH_MAX = 8;

const known = new WeakMap<Rule, boolean>();

/** Bodies do not change any more. */
export function isInlined(rule: Rule): boolean {
  const before = known.get(rule);
  if (before !== undefined) return before;
  const isSmall = rule.body !== null && sizeOf(rule.body, DEPTH_MAX) <= PARTS_MAX;
  known.set(rule, isSmall);
  return isSmall;
}

/** Infinity for whatever may be long: unbounded repetition, free text, recursion (which is deeper than anything). */
function sizeOf(expression: Expression, depthLeft: number): number {
  if (depthLeft === 0 || expression.kind === "free" || expression.kind === "machine") return Number.POSITIVE_INFINITY;
  if (expression.kind === "bytes") return 1 + expression.bytes.length;
  if (expression.kind === "repeat") {
    if (expression.max === null) return Number.POSITIVE_INFINITY;
    return 1 + expression.max * sizeOf(expression.item, depthLeft - 1);
  }
  if (expression.kind === "rule") {
    return expression.rule.body === null ? Number.POSITIVE_INFINITY : sizeOf(expression.rule.body, depthLeft - 1);
  }
  let size = 1;
  for (const child of childrenOf(expression)) {
    size += sizeOf(child, depthLeft - 1);
    if (size > PARTS_MAX) return Number.POSITIVE_INFINITY;
  }
  return size;
}
