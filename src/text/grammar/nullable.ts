/**
 * Which expressions match the empty text, and the same ones without it. A counted repetition counts only what consumes
 * something: an item that may be empty would make every count possible at once, and one state of thousands.
 */
import { choice, type Expression, NEVER, type Rule, repeat, ruleRef, sequence } from "./expression.ts";

export class Nullability {
  /** Rules that match the empty text. */
  readonly #rules = new Set<Rule>();
  readonly #nonEmptyRules = new Map<Rule, Rule>();

  constructor(root: Expression) {
    // Rules that others need come later in the list, mostly; what a pass learns the next one uses.
    const rules = reachableRules(root).reverse();
    for (let isChanged = true; isChanged; ) {
      isChanged = false;
      for (const rule of rules) {
        if (this.#rules.has(rule) || rule.body === null || !this.isNullable(rule.body)) continue;
        this.#rules.add(rule);
        isChanged = true;
      }
    }
  }

  isNullable(expression: Expression): boolean {
    switch (expression.kind) {
      case "never":
      case "byte":
      case "char":
      case "token":
        return false;
      case "bytes":
        return expression.bytes.length === 0;
      case "free":
        return !expression.endsWithTrigger;
      case "machine":
        return expression.states[0]!.isFinal;
      case "sequence":
        return expression.parts.every((part) => this.isNullable(part));
      case "choice":
        return expression.options.some((option) => this.isNullable(option));
      case "repeat":
        return expression.min === 0 || this.isNullable(expression.item);
      case "rule":
        return this.#rules.has(expression.rule);
    }
  }

  /** The texts of `expression` but the empty one. */
  nonEmpty(expression: Expression): Expression {
    if (!this.isNullable(expression)) return expression;
    switch (expression.kind) {
      case "sequence": {
        const [head, ...rest] = expression.parts;
        if (head === undefined) return NEVER;
        const tail = sequence(...rest);
        return choice(sequence(this.nonEmpty(head), tail), this.nonEmpty(tail));
      }
      case "choice":
        return choice(...expression.options.map((option) => this.nonEmpty(option)));
      case "repeat":
        return repeat(this.nonEmpty(expression.item), 1, expression.max);
      case "rule":
        return ruleRef(this.#nonEmptyRule(expression.rule));
      case "machine": {
        // The start once more, where nothing comes back to: only there the text was empty.
        const [start, ...others] = expression.states;
        const again = expression.states.length;
        const moved = (edges: readonly number[]) => edges.map((to, i) => (i % 3 === 2 && to === 0 ? again : to));
        const states = [start!, ...others].map(({ edges, isFinal }) => ({ edges: moved(edges), isFinal }));
        return {
          kind: "machine",
          states: [{ edges: states[0]!.edges, isFinal: false }, ...states.slice(1), states[0]!],
        };
      }
      case "free":
        throw new Error("Free text may be empty, so it cannot be counted: repeat it without a bound.");
      default:
        return NEVER;
    }
  }

  #nonEmptyRule(rule: Rule): Rule {
    const known = this.#nonEmptyRules.get(rule);
    if (known !== undefined) return known;
    const made: Rule = { name: rule.name, body: null };
    this.#nonEmptyRules.set(rule, made);
    made.body = this.nonEmpty(rule.body!);
    return made;
  }
}

/** In the order in which they are met. */
export function reachableRules(root: Expression): Rule[] {
  const rules = new Set<Rule>();
  const visited = new Set<Expression>();
  const pending: Expression[] = [root];
  for (let one = pending.pop(); one !== undefined; one = pending.pop()) {
    if (visited.has(one)) continue;
    visited.add(one);
    if (one.kind === "rule") {
      rules.add(one.rule);
      if (one.rule.body !== null) pending.push(one.rule.body);
    } else pending.push(...childrenOf(one));
  }
  return [...rules];
}

export function childrenOf(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case "sequence":
      return expression.parts;
    case "choice":
      return expression.options;
    case "repeat":
      return [expression.item];
    default:
      return [];
  }
}
