/** Token ids and logprobs → the record that clients see, with the token's exact bytes. */
import type { TokenLogprob } from "../protocol/generate.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import type { RowResult } from "./backend.ts";

/** Not fatal: bytes that are no whole UTF-8 become U+FFFD. ignoreBOM: U+FEFF is text like any other. */
const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

/** @param logprob null for a token that nothing predicts (the first of a prompt) */
export function tokenLogprob(
  tokenizer: Tokenizer,
  id: number,
  logprob: number | null,
  top: RowResult["top"],
): TokenLogprob {
  return {
    ...describe(tokenizer, id),
    logprob,
    top: top.map((entry) => ({ ...describe(tokenizer, entry.token), logprob: entry.logprob })),
  };
}

/** A control token stands for no bytes; its text is its name. */
function describe(tokenizer: Tokenizer, id: number): { id: number; text: string; bytes: number[] } {
  const bytes = tokenizer.tokenBytes(id);
  const text = bytes.length > 0 ? decoder.decode(bytes) : tokenizer.decode([id], { keepControl: true });
  return { id, text, bytes: Array.from(bytes) };
}
