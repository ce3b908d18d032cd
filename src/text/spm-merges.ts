/**
 * SentencePiece BPE in the words of a merge table. SentencePiece joins the neighbours whose union is the token with the
 * highest score, the leftmost of equal ones (Kudo & Richardson 2018; llama.cpp's `llm_tokenizer_spm`). So every way to
 * cut a token in two becomes a merge, and its rank is the place of the token's score.
 */
import type { RankedMerge } from "./merge-table.ts";

/**
 * @param ids tokens that merging may produce, by text
 * @param scores by id
 */
export function* mergesByScore(ids: ReadonlyMap<string, number>, scores: ArrayLike<number>): Generator<RankedMerge> {
  const ranks = ranksByScore(ids, scores);
  for (const [text, id] of ids) {
    const rank = ranks.get(scores[id]!)!;
    const characters = Array.from(text);
    let cut = 0;
    for (let numLeft = 1; numLeft < characters.length; numLeft++) {
      cut += characters[numLeft - 1]!.length;
      const left = text.slice(0, cut);
      const right = text.slice(cut);
      // A single character is where merging starts, token or not; anything longer has to be a token itself.
      const isReachable = (numLeft === 1 || ids.has(left)) && (numLeft === characters.length - 1 || ids.has(right));
      if (isReachable) yield [left, right, rank];
    }
  }
}

function ranksByScore(ids: ReadonlyMap<string, number>, scores: ArrayLike<number>): Map<number, number> {
  const distinct = new Set<number>();
  for (const id of ids.values()) distinct.add(scores[id]!);
  const descending = [...distinct].sort((a, b) => b - a);
  return new Map(descending.map((score, rank) => [score, rank]));
}
