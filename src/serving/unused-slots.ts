/**
 * What paging wastes. A block is taken as a whole, so behind a sequence's last computed position lie slots that are
 * taken and hold nothing: the "reserved" and "internal fragmentation" of the PagedAttention paper (Kwon et al. 2023,
 * section 3.1). Its third kind, between allocations, does not exist with blocks of one size.
 */
import type { BlockTable } from "./block-table.ts";

interface Holder {
  readonly table: BlockTable | null;
  readonly numComputed: number;
}

/** Token slots of the holders' blocks that no key or value is in. A block that several share counts once. */
export function unusedSlots(holders: Iterable<Holder>, blockTokens: number): number {
  let numUnused = 0;
  /** Blocks that are written in part; forks share one until the first of them writes on. */
  const partial = new Set<number>();
  for (const { table, numComputed } of holders) {
    if (table === null) continue;
    const last = Math.floor(numComputed / blockTokens);
    if (numComputed % blockTokens > 0 && last < table.numBlocks) {
      const block = table.at(last);
      if (partial.has(block)) continue;
      partial.add(block);
    }
    numUnused += Math.max(0, table.numBlocks * blockTokens - numComputed);
  }
  return numUnused;
}
