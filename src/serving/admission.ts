/**
 * Whether the head of the queue may come in: its prompt's blocks are there, nobody is just computing what it could share,
 * and its owner has restored what was kept of it.
 *
 * Restoring happens here, at the head of the queue, and not when a request arrives: while it waits behind others the
 * restored blocks would be taken again. And the owner does it, in its own time, since nobody else can read its storage.
 */
import type { BlockManager, PrefixMatch } from "./block-manager.ts";
import { isPrefixComing } from "./prefix-wait.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceQueue } from "./sequence-queue.ts";
import type { UnsavedBlocks } from "./unsaved-blocks.ts";

/** An owner that lets everybody who drives the engine have so many turns without restoring anything is not waited for. */
const RESTORE_ROUNDS_MAX = 8;

export class Admission {
  readonly #blocks: BlockManager;
  readonly #running: readonly Sequence[];
  readonly #waiting: SequenceQueue;
  readonly #unsaved: UnsavedBlocks;

  /** All of them live: what the scheduler does to them is seen here. */
  constructor(blocks: BlockManager, running: readonly Sequence[], waiting: SequenceQueue, unsaved: UnsavedBlocks) {
    this.#blocks = blocks;
    this.#running = running;
    this.#waiting = waiting;
    this.#unsaved = unsaved;
  }

  /** @returns the cached prefix that the head of the queue starts with; null = not yet */
  admit(sequence: Sequence): PrefixMatch | null {
    let match = this.#match(sequence);
    if (this.#blocks.prefixCache && isPrefixComing(sequence, match, this.#running, this.#blocks.blockTokens))
      return null;
    while (!this.#hasRoom(sequence, match)) {
      // Who runs lets time pass, in which holds end by themselves.
      if (this.#running.length > 0 || !this.#unsaved.giveUpOldest()) return null;
      match = this.#match(sequence);
    }
    return sequence.needsRestore && !this.#isGivenUpOn(sequence) ? null : match;
  }

  /** Is it the next to come in, and does it lack nothing but what its archive has? */
  isRestoreDue(sequence: Sequence): boolean {
    if (!sequence.needsRestore || sequence !== this.#waiting.first) return false;
    return this.#hasRoom(sequence, this.#match(sequence));
  }

  #match(sequence: Sequence): PrefixMatch {
    return this.#blocks.match(sequence, sequence.cacheSalt, sequence.numReusableMax);
  }

  #hasRoom(sequence: Sequence, match: PrefixMatch): boolean {
    const numNeeded = this.#blocks.numBlocksFor(sequence.numTokens) - match.numBlocks + match.numFree;
    // One block for each who runs already: they will grow, and to preempt the newcomer at once would waste its work.
    return numNeeded + this.#running.length <= this.#blocks.numFreeBlocks;
  }

  /** Has its owner had its turns and restored nothing? It is gone then, or the backend is never at rest. */
  #isGivenUpOn(sequence: Sequence): boolean {
    sequence.numStepsUnrestored++;
    return sequence.numStepsUnrestored > RESTORE_ROUNDS_MAX * (this.#running.length + this.#waiting.length);
  }
}
