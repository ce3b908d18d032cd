/**
 * What an answer may be when tools or a constraint bind it, as one grammar: thoughts first where the model has them, then
 * words, calls or constrained text. The mirror image of `answer-reader.ts`: what this lets through, that reads.
 *
 * Calls that must come (a named tool, "required") are all there is behind the thoughts. Calls that may come ("auto") follow
 * free text, and from the text that opens one on it is held to: a call that was begun is whole and valid. (A Llama may
 * begin one without such a text; that one is free.) With a constraint it is one or the other: the constrained text, or calls.
 */
import { ApiError } from "../../protocol/errors.ts";
import type { Tool, ToolChoice } from "../../protocol/generate.ts";
import type { AnswerSyntax } from "../answer-syntax.ts";
import { fromConstraint } from "../grammar/constraint.ts";
import {
  choice,
  type Expression,
  freeUntil,
  freeWithout,
  literal,
  optional,
  repeat,
  rule,
  ruleRef,
  sequence,
  type Trigger,
  token,
} from "../grammar/expression.ts";
import { OBJECT } from "../grammar/json-text.ts";
import type { ToolFormat } from "./tool-format.ts";

export interface AnswerRules {
  syntax: AnswerSyntax;
  /** See `thinkingOf`. */
  thinking: "open" | "closed" | "possible" | "none";
  /** Those that may be called. */
  tools: readonly Tool[];
  toolChoice: ToolChoice;
  parallelToolCalls: boolean;
  /** null = words are free. */
  constraint: Expression | null;
  /** The control token of a text of the syntax; null where it is made of ordinary tokens. */
  controlId(text: string): number | null;
}

/** Otherwise it is free, and needs no grammar. */
export function bindsAnswer({ tools, toolChoice, constraint }: Bound): boolean {
  return (tools.length > 0 && toolChoice !== "none") || constraint !== null;
}

interface Bound {
  tools: readonly Tool[];
  toolChoice: ToolChoice;
  constraint: unknown;
}

/** Of an answer that is bound. @throws ApiError (400) for a strict tool that cannot be enforced */
export function answerGrammar(rules: AnswerRules): Expression {
  const { tools, toolChoice, constraint } = rules;
  const mayCall = tools.length > 0 && toolChoice !== "none";
  const isAuto = toolChoice === "auto";
  if (constraint !== null && !mayCall) return behindThoughts(rules, constraint);
  if (constraint !== null && isAuto) return behindThoughts(rules, choice(constraint, onlyCalls(rules)));
  return behindThoughts(rules, isAuto ? freeWithCalls(rules) : onlyCalls(rules));
}

function behindThoughts({ syntax, thinking, controlId }: AnswerRules, answer: Expression): Expression {
  if (syntax.thinking === null || thinking === "closed" || thinking === "none") return answer;
  const { open, close } = syntax.thinking;
  // One line break or two follow, as models write it; more of them could follow for ever.
  const gap = repeat(literal("\n"), 0, 2);
  const thoughts = sequence(freeUntil([triggerOf(close, controlId)]), gap);
  if (thinking === "open") return sequence(thoughts, answer);
  return choice(sequence(marker(open, controlId), thoughts, answer), answer);
}

function freeWithCalls(rules: AnswerRules): Expression {
  const { syntax, parallelToolCalls, controlId } = rules;
  const { format } = syntax.tools;
  const opens = [triggerOf(format.open, controlId)];
  const call = sequence(freeUntil(opens), behindOpen(rules));
  if (!parallelToolCalls) return choice(freeWithout(opens), call);
  return sequence(repeat(call, 0, null), freeWithout(opens));
}

/** What follows `open`: one call, or a list of them. */
function behindOpen(rules: AnswerRules): Expression {
  const { syntax, controlId } = rules;
  const { format } = syntax.tools;
  const call = anyCall(rules);
  const calls = format.isList ? sequence(literal("["), several(rules, call), literal("]")) : call;
  const tail = format.mayBeBare ? several(rules, calls) : calls;
  return sequence(literal(format.before), tail, literal(format.after), closing(format, controlId));
}

function onlyCalls(rules: AnswerRules): Expression {
  const { syntax, controlId } = rules;
  const { format } = syntax.tools;
  const open = marker(format.open, controlId);
  const one = sequence(format.mayBeBare ? optional(open) : open, behindOpen(rules));
  return format.isList || format.mayBeBare ? one : several(rules, one);
}

/** One, where one alone may come or was named. */
function several({ syntax, toolChoice, parallelToolCalls }: AnswerRules, one: Expression): Expression {
  if (!parallelToolCalls || typeof toolChoice === "object") return one;
  return sequence(one, repeat(sequence(literal(syntax.tools.format.separator), one), 0, null));
}

function anyCall({ syntax, tools, toolChoice }: AnswerRules): Expression {
  const { argumentsKey } = syntax.tools.format;
  const isWanted = ({ name }: Tool) => typeof toolChoice !== "object" || name === toolChoice.name;
  const calls = tools.flatMap((tool, index) => {
    if (!isWanted(tool)) return [];
    const begin = `{"name": ${JSON.stringify(tool.name)}, "${argumentsKey}": `;
    return [sequence(literal(begin), argumentsOf(tool, index), literal("}"))];
  });
  // A rule is compiled once, however often it is used.
  return ruleRef(rule("call", choice(...calls)));
}

/** A schema that cannot be enforced binds a strict tool's client to send another one; otherwise any object will do. */
function argumentsOf({ parameters, strict }: Tool, index: number): Expression {
  if (parameters === null) return OBJECT;
  const schema = parameters.type === undefined ? { ...parameters, type: "object" } : parameters;
  try {
    return fromConstraint({ kind: "schema", schema }, `tools.${index}.function.parameters`);
  } catch (cause) {
    if (strict || !(cause instanceof ApiError)) throw cause;
    return OBJECT;
  }
}

function closing({ close }: ToolFormat, controlId: AnswerRules["controlId"]): Expression {
  return close === "" ? literal("") : marker(close, controlId);
}

function marker(text: string, controlId: AnswerRules["controlId"]): Expression {
  const id = controlId(text);
  return id === null ? literal(text) : token(id);
}

function triggerOf(text: string, controlId: AnswerRules["controlId"]): Trigger {
  return controlId(text) ?? text;
}
