/**
 * What every notation (JSON Schema, regular expressions, GBNF, choices, the combinators of code) is read into: one small
 * tree over bytes, Unicode characters and tokens. `program.ts` compiles it. The functions here are the combinators, for
 * formats that a schema alone does not say, such as a tool call between its markers:
 *
 *     sequence(token(toolCallId), literal('\n{"name": "f", "arguments": '), fromConstraint(schema, "tools.0"), literal("}"))
 *
 * Expressions are plain data: not changed once made (a rule's body is set once), free to share between trees.
 */

/** [first, last, first, last, …], ascending, apart from each other. */
export type Ranges = readonly number[];

export type Expression =
  | { kind: "never" }
  | { kind: "bytes"; bytes: Uint8Array }
  /** One byte. */
  | { kind: "byte"; ranges: Ranges }
  /** One character (a Unicode scalar value), as UTF-8. */
  | { kind: "char"; ranges: Ranges }
  /** This very token, whatever its bytes: the only way to a control token. */
  | { kind: "token"; id: number }
  | { kind: "sequence"; parts: readonly Expression[] }
  | { kind: "choice"; options: readonly Expression[] }
  /** `max` null = any number. */
  | { kind: "repeat"; item: Expression; min: number; max: number | null }
  | { kind: "rule"; rule: Rule }
  /** A deterministic machine; the first state is where it starts. */
  | { kind: "machine"; states: readonly MachineState[] }
  | { kind: "free"; triggers: readonly Trigger[]; tokens: readonly number[]; endsWithTrigger: boolean };

export interface MachineState {
  /** [first byte, last byte, state, …]. */
  edges: readonly number[];
  isFinal: boolean;
}

/** A name for an expression, so that it may contain itself; shared ones are compiled once. */
export interface Rule {
  readonly name: string;
  /** null until it is read. */
  body: Expression | null;
}

/** A text, or a token by its id. */
export type Trigger = string | number;

const encoder = new TextEncoder();

export const NOTHING: Expression = { kind: "sequence", parts: [] };
export const NEVER: Expression = { kind: "never" };

/** Exactly this text, in whatever tokens. */
export function literal(text: string): Expression {
  return text === "" ? NOTHING : { kind: "bytes", bytes: encoder.encode(text) };
}

/** Exactly this token. */
export function token(id: number): Expression {
  return { kind: "token", id };
}

export function sequence(...parts: readonly Expression[]): Expression {
  const flat = parts.flatMap((part) => (part.kind === "sequence" ? part.parts : [part]));
  if (flat.some(({ kind }) => kind === "never")) return NEVER;
  return flat.length === 1 ? flat[0]! : { kind: "sequence", parts: flat };
}

export function choice(...options: readonly Expression[]): Expression {
  const flat = options.flatMap((one) => (one.kind === "choice" ? one.options : one.kind === "never" ? [] : [one]));
  if (flat.length === 0) return NEVER;
  return flat.length === 1 ? flat[0]! : { kind: "choice", options: flat };
}

/** @param max null = any number */
export function repeat(item: Expression, min: number, max: number | null): Expression {
  if (max === 0) return NOTHING;
  if (min === 1 && max === 1) return item;
  if (item.kind === "never") return min === 0 ? NOTHING : NEVER;
  return { kind: "repeat", item, min, max };
}

export function optional(item: Expression): Expression {
  return repeat(item, 0, 1);
}

/** Read `body` later where it contains the rule itself. */
export function rule(name: string, body: Expression | null = null): Rule {
  return { name, body };
}

export function ruleRef(one: Rule): Expression {
  return { kind: "rule", rule: one };
}

export function chars(...ranges: number[]): Expression {
  return { kind: "char", ranges };
}

/**
 * Free text up to and including the first of `triggers`; what follows it in a sequence holds from there on.
 *
 * @param options.tokens control tokens that free text may have, too
 */
export function freeUntil(triggers: readonly Trigger[], options: { tokens?: readonly number[] } = {}): Expression {
  return { kind: "free", triggers, tokens: options.tokens ?? [], endsWithTrigger: true };
}

/** Free text without any of `triggers`; it may end anywhere. `sequence(repeat(sequence(freeUntil(t), call), 0, null),
 * freeWithout(t))` is an answer that may have calls. */
export function freeWithout(triggers: readonly Trigger[], options: { tokens?: readonly number[] } = {}): Expression {
  return { kind: "free", triggers, tokens: options.tokens ?? [], endsWithTrigger: false };
}
