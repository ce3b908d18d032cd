/**
 * Logprobs of completions: four parallel lists (OpenAI's older shape). A token that is no whole UTF-8 is written as
 * `bytes:\xe4\xb8`, as OpenAI did, so that its key among the alternatives stays distinct.
 *
 * `text_offset` counts code points of the choice's text (what Python calls characters), the echoed prompt included.
 */
import type { TokenLogprob } from "../generate.ts";
import { finiteLogprob } from "./chat-logprobs.ts";

const REPLACEMENT = "\uFFFD";

export interface CompletionLogprobs {
  tokens: string[];
  token_logprobs: (number | null)[];
  top_logprobs: (Record<string, number> | null)[];
  text_offset: number[];
}

/** Keeps the offset from one piece of a stream to the next. */
export class CompletionLogprobsEncoder {
  #numCodePoints = 0;

  encode(tokens: TokenLogprob[] | null): CompletionLogprobs | null {
    if (tokens === null) return null;
    return {
      tokens: tokens.map(tokenName),
      token_logprobs: tokens.map(({ logprob }) => (logprob === null ? null : finiteLogprob(logprob))),
      top_logprobs: tokens.map(alternatives),
      text_offset: tokens.map((token) => this.#advance(token.bytes)),
    };
  }

  /** Offset of the character that the token begins in. */
  #advance(bytes: number[]): number {
    const beginsInside = bytes.length > 0 && isContinuation(bytes[0]!) && this.#numCodePoints > 0;
    const offset = this.#numCodePoints - (beginsInside ? 1 : 0);
    this.#numCodePoints += bytes.filter((byte) => !isContinuation(byte)).length;
    return offset;
  }
}

/** The chosen token is among its alternatives even when it was not likely; null for the first prompt token. */
function alternatives(token: TokenLogprob): Record<string, number> | null {
  if (token.logprob === null) return null;
  const entries = token.top.map((one): [string, number] => [tokenName(one), finiteLogprob(one.logprob)]);
  return Object.fromEntries([...entries, [tokenName(token), finiteLogprob(token.logprob)]]);
}

function tokenName({ text, bytes }: { text: string; bytes: number[] }): string {
  if (!text.includes(REPLACEMENT)) return text;
  return `bytes:${bytes.map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}
