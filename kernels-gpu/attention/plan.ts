/**
 * The work lists of attention: which workgroup does what. Made anew for each step, a few words for each token; the work is
 * cut by positions alone, so that a sequence's sums do not depend on its neighbours.
 */
import { SPLIT_KEYS } from "./tile.ts";

/** A run of tokens of one sequence: rows firstRow … of the step, at positions startPosition … . */
export interface Run {
  firstRow: number;
  numRows: number;
  startPosition: number;
  /** Where the sequence's block table starts in the step's tables. */
  tableStart: number;
}

export interface DecodePlan {
  /** Four words each, as `decode.ts` and `merge.ts` read them. */
  items: number[];
  spans: number[];
}

/** Every row of the runs, split over its context. */
export function planDecode(runs: readonly Run[], window: number): DecodePlan {
  const items: number[] = [];
  const spans: number[] = [];
  for (const { firstRow, numRows, startPosition, tableStart } of runs) {
    for (let i = 0; i < numRows; i++) {
      const position = startPosition + i;
      const firstKey = window === 0 ? 0 : Math.max(0, position + 1 - window);
      const firstSplit = Math.floor(firstKey / SPLIT_KEYS);
      const lastSplit = Math.floor(position / SPLIT_KEYS);
      spans.push(firstRow + i, items.length / 4, lastSplit - firstSplit + 1, 0);
      for (let split = firstSplit; split <= lastSplit; split++) items.push(firstRow + i, tableStart, position, split);
    }
  }
  return { items, spans };
}

/** Tiles of at most `tileTokens` rows. @returns four words an item, as `prefill.ts` reads them */
export function planPrefill(runs: readonly Run[], tileTokens: number): number[] {
  const items: number[] = [];
  for (const { firstRow, numRows, startPosition, tableStart } of runs) {
    for (let i = 0; i < numRows; i += tileTokens) {
      items.push(firstRow + i, Math.min(tileTokens, numRows - i), tableStart, startPosition + i);
    }
  }
  return items;
}
