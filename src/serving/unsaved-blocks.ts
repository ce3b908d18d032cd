/**
 * Blocks of sequences that have ended and whose owners have not archived them yet. An owner writes a little later, in its
 * own time, and what the pool had reused by then would have to be computed again; so these blocks are kept out of the
 * free list for a few steps.
 *
 * A hold is a favour and no claim: it ends when its blocks are archived, after `HOLD_STEPS_MAX` steps, when nobody else
 * is there who could take them, and before a running sequence would be preempted. So it can neither leak nor block.
 */
import type { BlockManager } from "./block-manager.ts";
import type { BlockTable } from "./block-table.ts";

/** Twice what a whole context of 1,024 tokens takes, written `MOVED_TOKENS_PER_STEP` at a time. */
export const HOLD_STEPS_MAX = 16;

export class UnsavedBlocks {
  readonly #blocks: BlockManager;
  /** Oldest first. */
  #holds: { table: BlockTable; sinceStep: number }[] = [];

  constructor(blocks: BlockManager) {
    this.#blocks = blocks;
  }

  get length(): number {
    return this.#holds.length;
  }

  get tables(): BlockTable[] {
    return this.#holds.map(({ table }) => table);
  }

  /** Takes the table over. @param step number of the step it ended with */
  hold(table: BlockTable, step: number): void {
    this.#holds.push({ table, sinceStep: step });
  }

  /** @returns false when nothing is held */
  giveUpOldest(): boolean {
    const oldest = this.#holds.shift();
    if (oldest !== undefined) this.#blocks.release(oldest.table);
    return oldest !== undefined;
  }

  giveUpAll(): void {
    while (this.giveUpOldest());
  }

  /** @param step number of the one that begins */
  giveUpAged(step: number): void {
    while (this.#holds.length > 0 && step - this.#holds[0]!.sinceStep >= HOLD_STEPS_MAX) this.giveUpOldest();
  }

  /** These blocks, a chain from its beginning, are archived. */
  saved(archived: ArrayLike<number>): void {
    this.#holds = this.#holds.filter(({ table }) => {
      for (let i = 0; i < table.numIndexed; i++) if (table.at(i) !== archived[i]) return true;
      this.#blocks.release(table);
      return false;
    });
  }
}
