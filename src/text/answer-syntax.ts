/**
 * What a model writes beside the words of an answer: its thoughts and its calls of tools. Read off the chat template, the
 * only place where a model file says so.
 */
import { type TaughtFormat, toolFormatOf } from "./tools/formats.ts";

export interface ThinkingTags {
  open: string;
  close: string;
}

export interface AnswerSyntax {
  /** null where the model keeps no thoughts apart. */
  thinking: ThinkingTags | null;
  tools: TaughtFormat;
}

const THINK: ThinkingTags = { open: "<think>", close: "</think>" };

export function answerSyntaxOf(templateSource: string): AnswerSyntax {
  return {
    thinking: templateSource.includes(THINK.open) ? THINK : null,
    tools: toolFormatOf(templateSource),
  };
}

/** Texts that are structure of an answer: where one is a control token, its text is to be seen all the same. */
export function markersOf({ thinking, tools: { format } }: AnswerSyntax): string[] {
  const tags = thinking === null ? [] : [thinking.open, thinking.close];
  return [...tags, format.open, format.close].filter((text) => text !== "");
}

/** What an answer begins with is decided by how its prompt ends. */
export function thinkingOf(syntax: AnswerSyntax, prompt: string): "open" | "closed" | "possible" | "none" {
  if (syntax.thinking === null) return "none";
  const end = prompt.trimEnd();
  if (end.endsWith(syntax.thinking.open)) return "open";
  return end.endsWith(syntax.thinking.close) ? "closed" : "possible";
}
