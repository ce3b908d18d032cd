/** Merges as files list them, in order of rank, made ready for the library. */
import { ModelError } from "../model/errors.ts";

export type RankedMerge = [left: string, right: string, rank: number];

/**
 * @param merges "left right" strings (GGUF, older tokenizer.json) or pairs
 * @param ids what merging may produce. A merge into anything else would lose its text, and one into a control token
 *   would let people write control tokens, so those are left out.
 */
export function* rankedMerges(
  merges: readonly unknown[],
  ids: ReadonlyMap<string, number>,
  source: string,
): Generator<RankedMerge> {
  // Backwards, so that of two equal merges the first, stronger one is what stays in the library's map.
  for (let rank = merges.length - 1; rank >= 0; rank--) {
    const pair = pairOf(merges[rank]);
    if (pair === null) {
      throw new ModelError(
        "corrupt",
        `${source} entry ${rank}, ${JSON.stringify(merges[rank])}, is no pair of tokens.`,
      );
    }
    if (ids.has(pair[0] + pair[1])) yield [...pair, rank];
  }
}

function pairOf(merge: unknown): [left: string, right: string] | null {
  if (Array.isArray(merge)) {
    const [left, right] = merge;
    return merge.length === 2 && typeof left === "string" && typeof right === "string" ? [left, right] : null;
  }
  // From 1 on: the left token may itself begin with a space.
  const space = typeof merge === "string" ? merge.indexOf(" ", 1) : -1;
  return typeof merge === "string" && space > 0 ? [merge.slice(0, space), merge.slice(space + 1)] : null;
}
