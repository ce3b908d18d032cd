/**
 * Two requests with the same prefix often arrive together. While one computes it, the other waits a step or a few and
 * then finds it in the cache, instead of computing it a second time beside it.
 */
import type { PrefixMatch } from "./block-manager.ts";
import type { Sequence } from "./sequence.ts";

/**
 * Is the block after `match` being computed right now by one of those who run? The wait is bounded: whoever runs
 * advances or leaves, and with that block computed or its owner gone the answer is no.
 */
export function isPrefixComing(
  sequence: Sequence,
  match: PrefixMatch,
  running: readonly Sequence[],
  blockTokens: number,
): boolean {
  const start = match.numBlocks * blockTokens;
  const end = start + blockTokens;
  if (end > sequence.numReusableMax) return false;
  return running.some((other) => {
    if (other.numComputed >= end || other.numTokens < end || other.cacheSalt !== sequence.cacheSalt) return false;
    // A content is in one block only, so the same last matched block is the same prefix.
    if (match.numBlocks > 0 && other.table!.at(match.numBlocks - 1) !== match.blocks[match.numBlocks - 1]) return false;
    for (let position = start; position < end; position++) {
      if (other.tokenAt(position) !== sequence.tokenAt(position)) return false;
    }
    return true;
  });
}
