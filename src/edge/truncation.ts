/**
 * A conversation that does not fit the context, made to fit: its oldest turns are left out of the prompt (never of the
 * history), cut as `protocol/conversation-cuts.ts` says.
 *
 * Where a cut was made before, it stays as long as it fits, and a new one leaves a quarter of the context free: so the
 * KV of what stays is computed once for some turns, and not with every one of them.
 */
import { possibleCuts } from "../protocol/conversation-cuts.ts";
import { ApiError } from "../protocol/errors.ts";
import type { ChatMessage } from "../protocol/generate.ts";

/** Of the context, after a new cut. */
const FREE_SHARE = 1 / 4;

export interface TruncationSearch<Admitted> {
  messages: readonly ChatMessage[];
  contextLength: number;
  /** Tokens to be left for the answer. */
  numAnswer: number;
  /** The cut of the turn before. */
  numTruncatedBefore: number;
  /** Throws `context_length_exceeded` where the prompt is too long. */
  admit(numTruncated: number): Admitted;
}

interface Admission {
  readonly numPromptTokens: number;
  abort(): void;
}

/**
 * The request with as few messages left out as need be.
 *
 * @throws ApiError where not even the last message fits, and whatever else `admit` throws
 */
export function admitTruncated<Admitted extends Admission>(
  search: TruncationSearch<Admitted>,
): { admitted: Admitted; numTruncated: number } {
  const { messages, contextLength, numAnswer, numTruncatedBefore, admit } = search;
  const cuts = possibleCuts(messages);
  const tried = (numTruncated: number, numFree: number) => {
    const admitted = unlessTooLong(() => admit(numTruncated));
    if (admitted === null) return null;
    if (admitted.numPromptTokens + numFree <= contextLength) return { admitted, numTruncated };
    admitted.abort();
    return null;
  };
  const before = cuts.includes(numTruncatedBefore) ? numTruncatedBefore : 0;
  const kept = tried(0, numAnswer) ?? (before > 0 ? tried(before, numAnswer) : null);
  if (kept !== null) return kept;
  const numSpare = Math.floor(contextLength * FREE_SHARE);
  for (const numFree of [Math.max(numAnswer, numSpare), numAnswer]) {
    // Each further cut leaves less, so the first that fits is found by halving: tokenizing is what costs.
    let found: { admitted: Admitted; numTruncated: number } | null = null;
    for (let low = 0, high = cuts.length - 1; low <= high; ) {
      const middle = (low + high) >> 1;
      const fitting = tried(cuts[middle]!, numFree);
      if (fitting === null) low = middle + 1;
      else {
        found?.admitted.abort();
        found = fitting;
        high = middle - 1;
      }
    }
    if (found !== null) return found;
  }
  const last = cuts.at(-1) ?? 0;
  return { admitted: admit(last), numTruncated: last };
}

function unlessTooLong<T>(run: () => T): T | null {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof ApiError && cause.code === "context_length_exceeded") return null;
    throw cause;
  }
}
