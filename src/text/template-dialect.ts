/** What a chat template expects of a conversation with tools, read off its source: templates cannot be asked. */
import { type AnswerSyntax, answerSyntaxOf } from "./answer-syntax.ts";

export interface TemplateDialect {
  /** What the model was taught to write. */
  syntax: AnswerSyntax;
  /** Words that a message with calls does not have are null for it, not "". */
  hasNullContent: boolean;
  /** It refuses other ids of calls than nine letters and digits (Mistral). */
  hasShortCallIds: boolean;
}

export function templateDialectOf(source: string): TemplateDialect {
  return {
    syntax: answerSyntaxOf(source),
    hasNullContent: /content['"]?\]?\s+is\s+(not\s+)?none/.test(source),
    hasShortCallIds: /\|\s*length\s*!=\s*9/.test(source),
  };
}
