/**
 * What a request will cost in tokens, before anybody has tokenized it: for a rate limit that must decide without a model.
 * Wrong by some tens of percent either way, and put right when the answer has ended.
 */
import type { GenerateRequest, Prompt } from "./generate.ts";

/** English in the vocabularies of today. */
const CHARS_PER_TOKEN = 4;
/** Role and marks around a message. */
const TOKENS_PER_MESSAGE = 4;

/** Set aside for an answer without `max_tokens`, which may take all that the context leaves and hardly ever does. */
export const ANSWER_TOKENS = 512;

type Counted = Pick<GenerateRequest, "prompts" | "maxTokens" | "n" | "beams">;

export function estimateTokens({ prompts, maxTokens, n, beams }: Counted): number {
  return promptsEstimate(prompts) + prompts.length * (beams?.width ?? n) * (maxTokens ?? ANSWER_TOKENS);
}

export function promptsEstimate(prompts: readonly Prompt[]): number {
  return prompts.reduce((sum, prompt) => sum + promptTokens(prompt), 0);
}

/** Of a message that goes on a conversation which is not known here. */
export function estimateTurnTokens(content: string, maxTokens: number | null): number {
  return textTokens(content) + TOKENS_PER_MESSAGE + (maxTokens ?? ANSWER_TOKENS);
}

function promptTokens(prompt: Prompt): number {
  if (prompt.kind === "tokens") return prompt.tokens.length;
  if (prompt.kind === "text") return textTokens(prompt.text);
  const answer = prompt.answerSoFar === undefined ? 0 : textTokens(prompt.answerSoFar);
  return prompt.messages.reduce((sum, { content }) => sum + textTokens(content) + TOKENS_PER_MESSAGE, answer);
}

function textTokens(text: string): number {
  return Math.ceil(text.length / CHARS_PER_TOKEN);
}
