/** Logprobs of chat completions: one entry for each token, with the exact bytes (a token may be part of a character). */
import type { TokenLogprob } from "../generate.ts";

/** JSON has no −∞; OpenAI writes this for what cannot happen. */
export const LOGPROB_MIN = -9999;

export function finiteLogprob(logprob: number): number {
  return Math.max(logprob, LOGPROB_MIN);
}

export function chatLogprobs(tokens: TokenLogprob[] | null) {
  if (tokens === null) return null;
  return { content: tokens.map((token) => ({ ...entry(token), top_logprobs: token.top.map(entry) })), refusal: null };
}

function entry({ text, logprob, bytes }: { text: string; logprob: number | null; bytes: number[] }) {
  return { token: text, logprob: finiteLogprob(logprob ?? LOGPROB_MIN), bytes };
}
