/** What must hold between any two calls of a scheduler, in a form that throws. For tests. */
import type { BlockManager } from "./block-manager.ts";
import type { Sequence } from "./sequence.ts";
import type { UnsavedBlocks } from "./unsaved-blocks.ts";

export interface SchedulerState {
  blocks: BlockManager;
  running: readonly Sequence[];
  numRunningMax: number;
  numUnderWay: number;
  waiting: Iterable<Sequence>;
  unsaved: UnsavedBlocks;
}

export function checkSchedulerInvariants(state: SchedulerState): void {
  const { blocks, running, numRunningMax, numUnderWay, waiting, unsaved } = state;
  blocks.checkInvariants([...running.map((sequence) => sequence.table!), ...unsaved.tables]);
  // A running sequence never takes committed tokens back, so chains lose their ends only.
  blocks.checkChains();
  if (running.length > numRunningMax) throw new Error(`${running.length} sequences run.`);
  for (const sequence of running) {
    if (sequence.status !== "running") throw new Error(`A running sequence is ${sequence.status}.`);
    const numCovered = sequence.table!.numBlocks * blocks.blockTokens;
    const { numComputed, numScheduled, numDrawn } = sequence;
    if (numScheduled > numCovered) throw new Error("KV beyond the block table.");
    if (numScheduled < numComputed || numDrawn < 0) throw new Error("More has come back than was under way.");
    if (numDrawn > numUnderWay) throw new Error(`${numDrawn} tokens are drawn in ${numUnderWay} steps.`);
    if (numUnderWay === 0 && numScheduled > numComputed) throw new Error("What was scheduled is not under way.");
    if (sequence.numRemaining < 1) throw new Error("A running sequence has nothing to compute.");
  }
  let numWaiting = 0;
  for (const sequence of waiting) {
    numWaiting++;
    const holdsNothing = sequence.status === "waiting" && sequence.table === null && sequence.numScheduled === 0;
    if (!holdsNothing) throw new Error("A waiting sequence holds blocks.");
  }
  if (running.length + numWaiting === 0 && unsaved.length > 0) throw new Error("Blocks are held, and nobody is there.");
}
