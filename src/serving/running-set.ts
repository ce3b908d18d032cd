/**
 * Those who run, in the order of their admission, and what they hold. Whoever leaves gives its blocks back here. Samples
 * of one prompt come in when it is computed; the beams of a search stand together behind their root, and leave together.
 */
import type { BeamGroup } from "./beam-group.ts";
import type { BlockManager } from "./block-manager.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceQueue } from "./sequence-queue.ts";
import type { UnsavedBlocks } from "./unsaved-blocks.ts";

export class RunningSet {
  /** To be changed here only. */
  readonly sequences: Sequence[] = [];
  readonly numPlacesMax: number;
  readonly #blocks: BlockManager;
  readonly #waiting: SequenceQueue;
  readonly #unsaved: UnsavedBlocks;

  constructor(blocks: BlockManager, waiting: SequenceQueue, unsaved: UnsavedBlocks, numPlacesMax: number) {
    this.#blocks = blocks;
    this.#waiting = waiting;
    this.#unsaved = unsaved;
    this.numPlacesMax = numPlacesMax;
  }

  /** Places that nobody has; a search of beams has a place for each from its beginning. */
  get numPlacesFree(): number {
    let numTaken = 0;
    for (const sequence of this.sequences) numTaken += sequence.numPlaces;
    return this.numPlacesMax - numTaken;
  }

  /** @param heldSinceStep what it leaves behind is to be archived; null = its blocks are free now */
  stop(sequence: Sequence, heldSinceStep: number | null): void {
    this.sequences.splice(this.sequences.lastIndexOf(sequence), 1);
    // The copy that begins a beam's last block may have been planned and not made.
    if (sequence.beams === null) this.#blocks.keepTail(sequence.table!, sequence, sequence.numComputed);
    if (heldSinceStep === null) this.#blocks.release(sequence.table!);
    else this.#unsaved.hold(sequence.table!, heldSinceStep);
    sequence.table = null;
    sequence.setComputed(0);
  }

  /** Whoever was admitted last goes back to the head of the queue, with all that belong to it. */
  requeueLast(): void {
    const last = this.sequences[this.sequences.length - 1]!;
    for (const sequence of last.beams?.live ?? [last]) this.stop(sequence, null);
    last.beams?.restart();
    const first = last.beams?.root ?? last;
    first.status = "waiting";
    first.awaitRestore();
    this.#waiting.pushFront(first);
  }

  /** The siblings of a computed prompt begin: with its blocks where there is a place, else at the head of the queue. */
  fork(sequence: Sequence): void {
    const siblings = sequence.siblings;
    sequence.siblings = [];
    const homeless: Sequence[] = [];
    for (const sibling of siblings) {
      if (sibling.status === "finished") continue;
      sibling.numScored = sequence.numScored;
      sibling.numCachedTokens = 0;
      if (this.numPlacesFree > 0) {
        sibling.table = this.#blocks.fork(sequence.table!);
        sibling.setComputed(sequence.numComputed);
        sibling.status = "running";
        this.sequences.push(sibling);
      } else {
        sibling.status = "waiting";
        homeless.push(sibling);
      }
    }
    for (const sibling of homeless.reverse()) this.#waiting.pushFront(sibling);
  }

  /** Its beams choose who goes on. @returns false when the search is over, and nothing has changed */
  goOn(group: BeamGroup): boolean {
    const numBefore = group.live.length;
    if (!group.goOn(this.#blocks)) return false;
    this.sequences.splice(this.sequences.indexOf(group.root), numBefore, ...group.live);
    return true;
  }
}
