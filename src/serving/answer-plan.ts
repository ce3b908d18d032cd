/**
 * How the answers to a prompt are read: which of their text is thoughts, words or calls of tools. Decided once for a
 * request, from what the model was taught to write, what the request offers, and how the prompt ends.
 */
import type { GenerateRequest } from "../protocol/generate.ts";
import { AnswerReader, type AnswerReaderOptions } from "../text/answer-reader.ts";
import { type AnswerSyntax, markersOf, thinkingOf } from "../text/answer-syntax.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { callId } from "./call-id.ts";

export interface AnswerPlan {
  reader: AnswerReaderOptions;
  /** The model may think before it answers. */
  isThinker: boolean;
  /** Control tokens whose text is structure of the answer. */
  markerIds: ReadonlySet<number>;
  /** What an answer with calls ends with. OpenAI says "stop" where the request named the tool. */
  callsReason: "stop" | "tool_calls";
}

/** A plan for one choice. */
export interface Reading {
  reader: AnswerReader;
  markerIds: ReadonlySet<number>;
  callsReason: "stop" | "tool_calls";
  callId(call: number): string;
}

export class AnswerPlans {
  readonly #syntax: AnswerSyntax | null;
  readonly #markerIds: ReadonlySet<number>;

  constructor(tokenizer: Tokenizer, syntax: AnswerSyntax | null) {
    this.#syntax = syntax;
    this.#markerIds = new Set(syntax === null ? [] : markersOf(syntax).flatMap((text) => controlId(tokenizer, text)));
  }

  /** @param text of the encoded prompt @returns null where all of an answer is words */
  of({ prompts, toolChoice }: GenerateRequest, promptIndex: number, text: string): AnswerPlan | null {
    const prompt = prompts[promptIndex];
    if (this.#syntax === null || prompt?.kind !== "chat") return null;
    const { tools = [] } = prompt;
    const thinking = thinkingOf(this.#syntax, text);
    const mayThink = thinking === "open" || thinking === "possible";
    const mayCall = tools.length > 0 && toolChoice !== "none";
    if (!mayThink && !mayCall) return null;
    const names = new Set(tools.map(({ name }) => name));
    return {
      reader: {
        thinking: mayThink ? this.#syntax.thinking : null,
        isThinking: thinking === "open",
        tools: mayCall ? { format: this.#syntax.tools.format, names } : null,
      },
      isThinker: mayThink,
      markerIds: this.#markerIds,
      callsReason: typeof toolChoice === "object" ? "stop" : "tool_calls",
    };
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
function controlId(tokenizer: Tokenizer, text: string): number[] {
  const ids = tokenizer.encode(text, { addSpecialTokens: false, parseSpecial: true, continues: true });
  return ids.length === 1 && tokenizer.isControl(ids[0]!) ? ids : [];
}
