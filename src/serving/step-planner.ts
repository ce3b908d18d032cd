/**
 * Decides what one step computes: first the one token of everybody who decodes, then chunks of prompts with what the token
 * budget has left, then who comes in. `scheduler.ts` says why everybody comes to an end by that.
 *
 * The beams of a search (`beam-group.ts`) stand beside each other, and blocks for all of them are made ready before the
 * first is planned.
 */
import { Admission } from "./admission.ts";
import type { BlockCopy } from "./backend.ts";
import type { BeamGroup } from "./beam-group.ts";
import type { BlockManager, PrefixMatch } from "./block-manager.ts";
import type { RunningSet } from "./running-set.ts";
import type { SchedulerStats } from "./scheduler-stats.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceQueue } from "./sequence-queue.ts";
import type { Speculation } from "./speculation.ts";
import { isSuspect } from "./step-ahead.ts";
import type { StepPlan } from "./step-plan.ts";
import type { UnsavedBlocks } from "./unsaved-blocks.ts";

export interface PlannerOptions {
  /** Most tokens of a step over all sequences. */
  tokenBudget: number;
  /** Most prompt tokens of a step while something decodes: bounds how long a long prompt delays the others' tokens. */
  prefillChunkTokens: number;
}

/** Everybody there is, and what they hold; the scheduler's. */
export interface PlannerParts {
  blocks: BlockManager;
  running: RunningSet;
  waiting: SequenceQueue;
  unsaved: UnsavedBlocks;
  speculation: Speculation | null;
  stats: SchedulerStats;
}

export class StepPlanner {
  readonly #options: PlannerOptions;
  readonly #blocks: BlockManager;
  readonly #running: RunningSet;
  readonly #waiting: SequenceQueue;
  readonly #unsaved: UnsavedBlocks;
  readonly #speculation: Speculation | null;
  readonly #stats: SchedulerStats;
  readonly #admission: Admission;

  constructor({ blocks, running, waiting, unsaved, speculation, stats }: PlannerParts, options: PlannerOptions) {
    this.#options = options;
    this.#blocks = blocks;
    this.#running = running;
    this.#waiting = waiting;
    this.#unsaved = unsaved;
    this.#speculation = speculation;
    this.#stats = stats;
    this.#admission = new Admission(blocks, running.sequences, waiting, unsaved);
  }

  /**
   * Fills an empty plan; it stays empty when there is nothing to compute.
   * @param isAhead a step is under way, and there is room for all decodes (`canStepAhead`)
   */
  fill(plan: StepPlan, isAhead: boolean): void {
    this.#unsaved.giveUpAged(this.#stats.numSteps);
    plan.begin();
    this.#planDecodes(plan);
    const numDecodes = plan.numTokens;
    this.#planPrefills(plan, numDecodes);
    this.#admit(plan, numDecodes);
    // Only where nothing but decodes was planned: no prompt waits for a step that drafts made longer.
    if (!isAhead && plan.numSequences === numDecodes) {
      this.#speculation?.extend(plan, this.#options.tokenBudget - numDecodes);
    }
    plan.end();
  }

  /** May its owner restore what its archive has? */
  isRestoreDue(sequence: Sequence): boolean {
    return this.#running.numPlacesFree > 0 && this.#admission.isRestoreDue(sequence);
  }

  #planDecodes(plan: StepPlan): void {
    const { sequences } = this.#running;
    // The victims of a preemption are taken from the end, so never from those already planned.
    for (let i = 0; i < sequences.length; i++) {
      const sequence = sequences[i]!;
      if (sequence.numToSchedule !== 1 || sequence.isDrawnToEnd) continue;
      const { beams } = sequence;
      if (beams === null)
        while (sequence.status === "running" && !this.#prepareWrite(plan, sequence, 1)) this.#makeRoom();
      else if (sequence === beams.root) this.#prepareBeams(plan, beams);
      if (sequence.status === "running") plan.add(sequence, 1);
    }
  }

  /** With the root that of all beams: none of them may be preempted when others of them are planned already. */
  #prepareBeams(plan: StepPlan, beams: BeamGroup): void {
    const { root } = beams;
    const copies: BlockCopy[] = [];
    while (root.status === "running" && !beams.prepareWrite(this.#blocks, copies)) this.#makeRoom();
    if (root.status === "running") plan.batch.copies.push(...copies);
  }

  #planPrefills(plan: StepPlan, numDecodes: number): void {
    const { sequences } = this.#running;
    for (let i = 0; i < sequences.length; i++) {
      const sequence = sequences[i]!;
      if (sequence.numToSchedule <= 1) continue;
      const numTokens = Math.min(sequence.numToSchedule, this.#numPrefillLeft(plan, numDecodes));
      if (numTokens === 0) return;
      plan.add(sequence, numTokens);
    }
  }

  #admit(plan: StepPlan, numDecodes: number): void {
    const { sequences } = this.#running;
    while (true) {
      const sequence = this.#waiting.first;
      const numLeft = this.#numPrefillLeft(plan, numDecodes);
      if (sequence === null || numLeft === 0 || sequence.numPlaces > this.#running.numPlacesFree) return;
      if (sequences.length > 0 && (isSuspect(sequence) || sequences.some(isSuspect))) return;
      const match = this.#admission.admit(sequence);
      if (match === null) return;
      this.#waiting.remove(sequence);
      this.#start(plan, sequence, match);
      plan.add(sequence, Math.min(sequence.numToSchedule, numLeft));
    }
  }

  #start(plan: StepPlan, sequence: Sequence, match: PrefixMatch): void {
    sequence.table = this.#blocks.open(sequence.cacheSalt, match);
    sequence.setComputed(match.numBlocks * this.#blocks.blockTokens + this.#blocks.takeTail(sequence.table, match));
    sequence.status = "running";
    this.#running.sequences.push(sequence);
    this.#prepareWrite(plan, sequence, sequence.numToSchedule);
    if (sequence.numCachedTokens === null) {
      sequence.numCachedTokens = sequence.numComputed;
      this.#stats.prefixQueriedTokens += sequence.numTokens;
      this.#stats.prefixHitTokens += sequence.numComputed;
      sequence.listener.admitted(sequence);
    }
  }

  #prepareWrite(plan: StepPlan, sequence: Sequence, numTokens: number): boolean {
    const start = sequence.numScheduled;
    return this.#blocks.prepareWrite(sequence.table!, start, start + numTokens, plan.batch.copies);
  }

  #numPrefillLeft(plan: StepPlan, numDecodes: number): number {
    const { tokenBudget, prefillChunkTokens } = this.#options;
    const numLeft = tokenBudget - plan.numTokens;
    if (numDecodes === 0) return numLeft;
    return Math.min(numLeft, prefillChunkTokens - (plan.numTokens - numDecodes));
  }

  /** For a decode that needs a block. */
  #makeRoom(): void {
    if (this.#unsaved.giveUpOldest()) return;
    this.#running.requeueLast();
    this.#stats.numPreemptions++;
  }
}
