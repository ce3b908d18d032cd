/** Logprobs of Ollama: a list beside the text, an entry a token, with the bytes of tokens that are part of a character. */
import type { TokenLogprob } from "../generate.ts";
import { finiteLogprob, LOGPROB_MIN } from "../openai/chat-logprobs.ts";

export function ollamaLogprobs(tokens: TokenLogprob[]) {
  return tokens.map((token) => ({
    ...entry(token),
    ...(token.top.length > 0 && { top_logprobs: token.top.map(entry) }),
  }));
}

function entry({ text, logprob, bytes }: { text: string; logprob: number | null; bytes: number[] }) {
  return { token: text, logprob: finiteLogprob(logprob ?? LOGPROB_MIN), bytes };
}
