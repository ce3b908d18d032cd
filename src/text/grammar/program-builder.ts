/**
 * Expression → program. Every expression is compiled towards the node that follows it, so a sequence costs no node of
 * its own, and what occurs twice before the same continuation is compiled once.
 */
import { invalidRequest } from "../../protocol/errors.ts";
import { GRAMMAR_NODES_MAX } from "../../protocol/limits.ts";
import type { Expression, MachineState, Ranges, Rule } from "./expression.ts";
import { freeTextStates } from "./free-text.ts";
import { isInlined } from "./inlined-rules.ts";
import { Nullability } from "./nullable.ts";
import { END, leftRecursiveRule, needsOf, type Program, type ProgramNode } from "./program.ts";
import { type Utf8Tree, utf8Tree } from "./utf8-tree.ts";

/** A repetition of no more copies is written out: no counters, fewer states to tell apart. */
const COPIES_MAX = 3;

type FreeText = Extract<Expression, { kind: "free" }>;

/**
 * @param param the request's field, for errors
 * @param isByteToken by byte: the vocabulary has it alone
 */
export function buildProgram(root: Expression, param: string, isByteToken: Uint8Array): Program {
  return new ProgramBuilder(root, param).build(isByteToken);
}

class ProgramBuilder {
  readonly #root: Expression;
  readonly #param: string;
  readonly #nullability: Nullability;
  readonly #nodes: ProgramNode[] = [{ kind: "end" }];
  readonly #memo = new Map<Expression, Map<number, number>>();
  readonly #treeMemo = new Map<Utf8Tree, Map<number, number>>();
  /** Where each rule starts; calls refer to a place that is filled when the rule's turn comes. */
  readonly #starts = new Map<Rule, number>();
  readonly #pending: Rule[] = [];

  constructor(root: Expression, param: string) {
    this.#root = root;
    this.#param = param;
    this.#nullability = new Nullability(root);
  }

  build(isByteToken: Uint8Array): Program {
    const start = this.#compile(this.#root, END);
    for (let rule = this.#pending.pop(); rule !== undefined; rule = this.#pending.pop()) {
      const body = rule.body === null ? this.#add({ kind: "split", targets: [] }) : this.#compile(rule.body, END);
      this.#nodes[this.#starts.get(rule)!] = { kind: "split", targets: [body] };
    }
    this.#refuseLeftRecursion();
    const needs = needsOf(this.#nodes, null);
    const tokenNeeds = isByteToken.includes(0) ? needsOf(this.#nodes, isByteToken) : needs;
    return { nodes: this.#nodes, start, needs, tokenNeeds };
  }

  #refuseLeftRecursion(): void {
    const names = new Map([...this.#starts].map(([rule, start]) => [start, rule.name]));
    const nullable = new Set(
      [...this.#starts]
        .filter(([rule]) => rule.body !== null && this.#nullability.isNullable(rule.body))
        .map(([, id]) => id),
    );
    const name = leftRecursiveRule(this.#nodes, names, (start) => nullable.has(start));
    if (name === null) return;
    throw invalidRequest(
      `'${this.#param}': '${name}' begins with itself, so it has no first character. Put something in front of the ` +
        "recursion, or turn it round.",
      this.#param,
      "unsupported_grammar",
    );
  }

  #add(node: ProgramNode): number {
    if (this.#nodes.length >= GRAMMAR_NODES_MAX) {
      throw invalidRequest(
        `'${this.#param}' makes a grammar of more than ${GRAMMAR_NODES_MAX} places. Make it smaller.`,
        this.#param,
        "grammar_too_large",
      );
    }
    return this.#nodes.push(node) - 1;
  }

  #compile(expression: Expression, next: number): number {
    const memo = this.#memo.get(expression) ?? new Map<number, number>();
    this.#memo.set(expression, memo);
    const known = memo.get(next);
    if (known !== undefined) return known;
    const made = this.#compileInner(expression, next);
    memo.set(next, made);
    return made;
  }

  #compileInner(expression: Expression, next: number): number {
    switch (expression.kind) {
      case "never":
        return this.#add({ kind: "split", targets: [] });
      case "bytes":
        return this.#compileBytes(expression.bytes, next);
      case "byte":
        return this.#add({ kind: "bytes", edges: edgesTo(expression.ranges, next) });
      case "token":
        return this.#add({ kind: "token", id: expression.id, next });
      case "char":
        return this.#compileTree(utf8Tree(expression.ranges), next);
      case "sequence":
        return expression.parts.reduceRight((after, part) => this.#compile(part, after), next);
      case "choice":
        return this.#compileChoice(expression.options, next);
      case "repeat":
        return this.#compileRepeat(expression.item, expression.min, expression.max, next);
      case "free":
        return this.#compileFree(expression, next);
      case "machine":
        return this.#compileMachine(expression.states, next);
      case "rule":
        return this.#compileRule(expression.rule, next);
    }
  }

  #compileBytes(bytes: Uint8Array, next: number): number {
    let at = next;
    for (let i = bytes.length - 1; i >= 0; i--) at = this.#add({ kind: "bytes", edges: [bytes[i]!, bytes[i]!, at] });
    return at;
  }

  #compileRule(rule: Rule, next: number): number {
    if (rule.body !== null && isInlined(rule)) return this.#compile(rule.body, next);
    let start = this.#starts.get(rule);
    if (start === undefined) {
      start = this.#add({ kind: "split", targets: [] });
      this.#starts.set(rule, start);
      this.#pending.push(rule);
    }
    return this.#add({ kind: "call", start, next });
  }

  /** Literals share their beginnings, so that thousands of them are one place and not thousands; so do digits. */
  #compileChoice(options: readonly Expression[], next: number): number {
    const literals: Uint8Array[] = [];
    const edges: number[] = [];
    const targets: number[] = [];
    for (const option of options) {
      const first = firstAscii(option);
      if (option.kind === "bytes" && option.bytes.length > 0) literals.push(option.bytes);
      else if (first === null) targets.push(this.#compile(option, next));
      else edges.push(...edgesTo(first.ranges, first.rest === null ? next : this.#compile(first.rest, next)));
    }
    if (edges.length > 0) targets.push(this.#add({ kind: "bytes", edges }));
    if (literals.length > 0) targets.push(this.#compileLiterals(literals, 0, next));
    return targets.length === 1 ? targets[0]! : this.#add({ kind: "split", targets });
  }

  #compileLiterals(literals: readonly Uint8Array[], depth: number, next: number): number {
    const numShared = sharedBytes(literals, depth);
    if (numShared > 0) {
      const after = this.#compileLiterals(literals, depth + numShared, next);
      return this.#compileBytes(literals[0]!.subarray(depth, depth + numShared), after);
    }
    const byFirst = new Map<number, Uint8Array[]>();
    for (const one of literals) {
      if (one.length === depth) continue;
      const sharing = byFirst.get(one[depth]!);
      if (sharing === undefined) byFirst.set(one[depth]!, [one]);
      else sharing.push(one);
    }
    const edges = [...byFirst].flatMap(([byte, rest]) => [byte, byte, this.#compileLiterals(rest, depth + 1, next)]);
    const mayEnd = literals.some((one) => one.length === depth);
    if (edges.length === 0) return next;
    const going = this.#add({ kind: "bytes", edges });
    return mayEnd ? this.#add({ kind: "split", targets: [going, next] }) : going;
  }

  #compileTree(tree: Utf8Tree, next: number): number {
    const memo = this.#treeMemo.get(tree) ?? new Map<number, number>();
    this.#treeMemo.set(tree, memo);
    const known = memo.get(next);
    if (known !== undefined) return known;
    const edges = tree.edges.flatMap(({ first, last, rest }) => [
      first,
      last,
      rest === null ? next : this.#compileTree(rest, next),
    ]);
    const made = this.#add({ kind: "bytes", edges });
    memo.set(next, made);
    return made;
  }

  #compileRepeat(item: Expression, min: number, max: number | null, next: number): number {
    if (max === null) {
      const star = this.#compileStar(item, next);
      return min === 0 ? star : this.#compileRepeat(item, min, min, star);
    }
    const isNullable = this.#nullability.isNullable(item);
    const solid = isNullable ? this.#nullability.nonEmpty(item) : item;
    const least = isNullable ? 0 : min;
    if (max > COPIES_MAX) {
      const body = this.#compile(solid, END);
      return this.#add({ kind: "loop", body, next, min: least, max });
    }
    let at = next;
    for (let i = max; i > 0; i--) {
      const copy = this.#compile(solid, at);
      at = i > least ? this.#add({ kind: "split", targets: [copy, next] }) : copy;
    }
    return at;
  }

  #compileStar(item: Expression, next: number): number {
    const targets: number[] = [];
    const star = this.#add({ kind: "split", targets });
    targets.push(this.#compile(item, star), next);
    return star;
  }

  #compileMachine(states: readonly MachineState[], next: number): number {
    const ids = states.map(() => this.#add({ kind: "split", targets: [] }));
    for (const [i, { edges, isFinal }] of states.entries()) {
      const numbered = edges.map((value, at) => (at % 3 === 2 ? ids[value]! : value));
      const going = this.#add({ kind: "bytes", edges: numbered });
      this.#nodes[ids[i]!] = { kind: "split", targets: isFinal ? [going, next] : [going] };
    }
    return ids[0]!;
  }

  #compileFree({ triggers, tokens, endsWithTrigger }: FreeText, next: number): number {
    const states = freeTextStates(triggers);
    const nowhere = this.#add({ kind: "split", targets: [] });
    const afterTrigger = endsWithTrigger ? next : nowhere;
    const ids = states.map(() => this.#add({ kind: "split", targets: [] }));
    const anyToken = tokens.map((id) => this.#add({ kind: "token", id, next: ids[0]! }));
    const triggerTokens = triggers.flatMap((id) =>
      typeof id === "number" ? [this.#add({ kind: "token", id, next: afterTrigger })] : [],
    );
    const others = [...anyToken, ...triggerTokens, ...(endsWithTrigger ? [] : [next])];
    for (const [i, { edges }] of states.entries()) {
      const numbered = edges.map((value, at) => (at % 3 !== 2 ? value : value < 0 ? afterTrigger : ids[value]!));
      this.#nodes[ids[i]!] = { kind: "split", targets: [this.#add({ kind: "bytes", edges: numbered }), ...others] };
    }
    return ids[0]!;
  }
}

/** How far all of them go on alike. */
function sharedBytes(literals: readonly Uint8Array[], depth: number): number {
  const [first, ...others] = literals;
  let end = first!.length;
  for (const other of others) {
    let at = depth;
    while (at < end && at < other.length && other[at] === first![at]) at++;
    end = at;
  }
  return end - depth;
}

function edgesTo(ranges: Ranges, target: number): number[] {
  const edges: number[] = [];
  for (let i = 0; i < ranges.length; i += 2) edges.push(ranges[i]!, ranges[i + 1]!, target);
  return edges;
}

/** A character of one byte, alone or before something that is one object; null for anything else. */
function firstAscii(expression: Expression): { ranges: Ranges; rest: Expression | null } | null {
  const isPair = expression.kind === "sequence" && expression.parts.length === 2;
  const first = isPair ? expression.parts[0]! : expression;
  if (first.kind !== "char" || first.ranges.some((code) => code > 0x7f)) return null;
  return { ranges: first.ranges, rest: isPair ? expression.parts[1]! : null };
}
