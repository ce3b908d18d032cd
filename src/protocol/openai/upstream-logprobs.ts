/**
 * Logprobs of another server's chunk, in either of OpenAI's shapes. Token ids are not among them (llama.cpp adds them), so
 * an entry's `id` may be `UNKNOWN_TOKEN_ID`; bytes that were left out are those of the text.
 */
import type { TokenLogprob } from "../generate.ts";
import { countOf, type JsonObject, listOf, numberOf, objectOf, stringOf } from "../json-values.ts";

export const UNKNOWN_TOKEN_ID = -1;

const encoder = new TextEncoder();

/** @returns null where the chunk has none */
export function upstreamLogprobs(value: unknown): TokenLogprob[] | null {
  const logprobs = objectOf(value);
  if (logprobs === null) return null;
  if (Array.isArray(logprobs.content)) return logprobs.content.flatMap(chatToken);
  if (Array.isArray(logprobs.tokens)) return completionTokens(logprobs);
  return null;
}

function chatToken(value: unknown): TokenLogprob[] {
  const entry = objectOf(value);
  if (entry === null) return [];
  const top = listOf(entry.top_logprobs).flatMap((one) => {
    const alternative = objectOf(one);
    return alternative === null ? [] : [{ ...tokenOf(alternative), logprob: numberOf(alternative.logprob) ?? 0 }];
  });
  return [{ ...tokenOf(entry), logprob: numberOf(entry.logprob), top }];
}

function tokenOf({ id, token, bytes }: JsonObject): { id: number; text: string; bytes: number[] } {
  const text = stringOf(token) ?? "";
  return { id: countOf(id) ?? UNKNOWN_TOKEN_ID, text, bytes: bytesOf(bytes) ?? [...encoder.encode(text)] };
}

function bytesOf(value: unknown): number[] | null {
  if (!Array.isArray(value)) return null;
  return value.every((byte) => Number.isInteger(byte) && byte >= 0 && byte <= 255) ? (value as number[]) : null;
}

function completionTokens(logprobs: JsonObject): TokenLogprob[] {
  const values = listOf(logprobs.token_logprobs);
  const tops = listOf(logprobs.top_logprobs);
  return listOf(logprobs.tokens).map((token, i) => ({
    ...tokenOf({ token }),
    logprob: numberOf(values[i]),
    top: Object.entries(objectOf(tops[i]) ?? {}).map(([text, logprob]) => ({
      ...tokenOf({ token: text }),
      logprob: numberOf(logprob) ?? 0,
    })),
  }));
}
