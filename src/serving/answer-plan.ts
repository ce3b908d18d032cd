/**
 * How the answers to a chat are read and bound: which of their text is thoughts, words or calls of tools, and what they may
 * be. Decided once for a request, from what the model was taught to write, what the request offers, and how the prompt ends.
 */
import { ApiError } from "../protocol/errors.ts";
import type { GenerateRequest, Prompt } from "../protocol/generate.ts";
import { AnswerReader, type AnswerReaderOptions } from "../text/answer-reader.ts";
import { type AnswerSyntax, markersOf, thinkingOf } from "../text/answer-syntax.ts";
import { fromConstraint } from "../text/grammar/constraint.ts";
import { grammarCompilerOf } from "../text/grammar/grammar-compiler.ts";
import type { TokenGrammar } from "../text/grammar/token-grammar.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type AnswerRules, answerGrammar, bindsAnswer } from "../text/tools/answer-grammar.ts";
import { callId } from "./call-id.ts";

export interface AnswerPlan {
  reader: AnswerReaderOptions;
  /** The model may think before it answers. */
  isThinker: boolean;
  /** Control tokens whose text is structure of the answer. */
  markerIds: ReadonlySet<number>;
  /** What an answer with calls ends with. OpenAI says "stop" where the request named the tool. */
  callsReason: "stop" | "tool_calls";
  /** Binds the whole answer, the request's own constraint included; null = nothing does. */
  grammar: TokenGrammar | null;
}

/** All that a grammar depends on, besides the model. */
type Bound = Pick<AnswerRules, "tools" | "toolChoice" | "parallelToolCalls" | "thinking"> &
  Pick<GenerateRequest, "constraint">;

/** A plan for one choice. */
export interface Reading {
  reader: AnswerReader;
  markerIds: ReadonlySet<number>;
  callsReason: "stop" | "tool_calls";
  callId(call: number): string;
}

export class AnswerPlans {
  readonly #tokenizer: Tokenizer;
  readonly #syntax: AnswerSyntax | null;
  readonly #markers: ReadonlyMap<string, number>;

  constructor(tokenizer: Tokenizer, syntax: AnswerSyntax | null) {
    this.#tokenizer = tokenizer;
    this.#syntax = syntax;
    this.#markers = new Map(
      (syntax === null ? [] : markersOf(syntax)).flatMap((text) => controlToken(tokenizer, text)),
    );
  }

  /**
   * @param text of the encoded prompt
   * @returns null where all of an answer is words
   * @throws ApiError (400) for a strict tool, or a constraint, that cannot be enforced
   */
  of(request: GenerateRequest, promptIndex: number, text: string): AnswerPlan | null {
    const prompt = request.prompts[promptIndex];
    if (this.#syntax === null || prompt?.kind !== "chat") return null;
    const { tools = [] } = prompt;
    const thinking = thinkingOf(this.#syntax, text);
    const mayThink = thinking === "open" || thinking === "possible";
    const mayCall = tools.length > 0 && request.toolChoice !== "none";
    if (!mayThink && !mayCall) return null;
    const names = new Set(tools.map(({ name }) => name));
    return {
      reader: {
        thinking: mayThink ? this.#syntax.thinking : null,
        isThinking: thinking === "open",
        tools: mayCall ? { format: this.#syntax.tools.format, names } : null,
      },
      isThinker: mayThink,
      markerIds: new Set(this.#markers.values()),
      callsReason: typeof request.toolChoice === "object" ? "stop" : "tool_calls",
      grammar: this.#grammarOf(request, prompt, thinking, this.#syntax),
    };
  }

  #grammarOf(
    { constraint, toolChoice, parallelToolCalls }: GenerateRequest,
    { tools = [] }: Extract<Prompt, { kind: "chat" }>,
    thinking: AnswerRules["thinking"],
    syntax: AnswerSyntax,
  ): TokenGrammar | null {
    const bound = { tools, toolChoice, parallelToolCalls, constraint, thinking };
    if (!bindsAnswer(bound)) return null;
    try {
      return this.#compile(bound, syntax);
    } catch (cause) {
      // Schemas that are too much together, or cannot be met: those of strict tools are a promise, the others advice.
      const lax = tools.map((tool) => (tool.strict ? tool : { ...tool, parameters: null }));
      const isLaxer = tools.some(({ strict, parameters }) => !strict && parameters !== null);
      if (!(cause instanceof ApiError) || !isLaxer) throw cause;
      return this.#compile({ ...bound, tools: lax }, syntax);
    }
  }

  #compile(bound: Bound, syntax: AnswerSyntax): TokenGrammar {
    const { constraint, tools } = bound;
    const make = () =>
      answerGrammar({
        ...bound,
        syntax,
        constraint: constraint === null ? null : fromConstraint(constraint, "response_format"),
        controlId: (marker) => this.#markers.get(marker) ?? null,
      });
    const param = tools.length > 0 ? "tools" : "response_format";
    return grammarCompilerOf(this.#tokenizer).compileKeptParts(bound, make, param);
  }
}

/** @param choice index among all choices of the request */
export function readingOf(
  { reader, markerIds, callsReason }: AnswerPlan,
  requestId: string,
  seed: readonly [number, number],
  choice: number,
): Reading {
  return {
    reader: new AnswerReader(reader),
    markerIds,
    callsReason,
    callId: (call) => callId(requestId, seed, choice, call),
  };
}

/** None where the text is made of ordinary tokens. */
function controlToken(tokenizer: Tokenizer, text: string): [string, number][] {
  const [id, more] = tokenizer.encode(text, { addSpecialTokens: false, parseSpecial: true, continues: true });
  return id !== undefined && more === undefined && tokenizer.isControl(id) ? [[text, id]] : [];
}
