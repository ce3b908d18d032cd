/**
 * A step may be planned while the one before it is under way, so that an asynchronous backend has the next one already when
 * that ends. Every sequence then goes on at `numScheduled`, behind a token that is drawn and not known (`follows`). What
 * comes back of the older step may say that a sequence had ended with it: what the newer one computed for it is dropped,
 * and its blocks change hands at once, because steps are computed in the order in which they were handed over.
 *
 * It is planned for all who run or not at all: whoever cannot go on without knowing its last token would otherwise sit out
 * every second step. And nobody is preempted for it: a preempted sequence would be counted in a step under way.
 */
import type { BlockManager } from "./block-manager.ts";
import type { Sequence } from "./sequence.ts";
import { NUM_DRAFTING_MAX } from "./speculation.ts";

export interface AheadState {
  blocks: BlockManager;
  running: readonly Sequence[];
  /** Head of the queue. */
  next: Sequence | null;
  /** Decodes carry drafts where they are few: those have to know the tokens so far. */
  speculates: boolean;
}

export function canStepAhead({ blocks, running, next, speculates }: AheadState): boolean {
  if (speculates && running.length <= NUM_DRAFTING_MAX) return false;
  if (next !== null && isSuspect(next)) return false;
  let numBlocks = 0;
  for (const sequence of running) {
    if (isSuspect(sequence) || sequence.beams !== null) return false;
    if (sequence.numDrawn > 0 && sequence.siblings.length > 0) return false;
    if (sequence.isDrawnToEnd) continue;
    if (sequence.numDrawn > 0 && !sequence.canFollowUnknown) return false;
    const start = sequence.numScheduled;
    if (sequence.numToSchedule === 1) numBlocks += blocks.numBlocksToWrite(sequence.table!, start, start + 1);
  }
  return numBlocks <= blocks.numFreeBlocks;
}

/** It was in a step that took the backend down, and has no token since: it computes alone. */
export function isSuspect(sequence: Sequence): boolean {
  return sequence.numCrashes > 0;
}
