/**
 * Decides what every step computes. Continuous batching (Yu et al., Orca 2022) with chunked prefill (Agrawal et al.,
 * Sarathi-Serve 2024): in each step every decoding sequence gets its one token first, then prompts get chunks of what
 * the token budget has left, then waiting requests are admitted, by priority and then first come first served. Priority
 * orders the waiting line only: who runs is never interrupted for it.
 *
 * Why every admitted request finishes, whatever the budget (≥ 1) and the pool (≥ one sequence):
 *  - at most `tokenBudget` sequences run, so every decode fits in every step and, while any prompt is unfinished, at
 *    least one token of the budget is left for the first of them;
 *  - a prompt's blocks are all taken at admission, so only decodes ask for blocks later; where none is free, a hold is
 *    given up (`UnsavedBlocks`), or else the latest-admitted sequence is preempted. The first-admitted is preempted only
 *    if it is alone, but alone it fits (checked in `add`). So it advances in every step and ends, and another becomes
 *    the first;
 *  - with nothing running every block is free or held, so the head of the queue is always admitted then; at the latest
 *    when its owner restores nothing of it (`Admission`).
 *
 * The beams of a search (`beam-group.ts`) are admitted, preempted and ended as one: places for all of them are kept from
 * the beginning, they stand beside each other, and blocks for all of them are made ready before the first is planned.
 *
 * A preempted sequence goes to the head of the queue and gives up its blocks; their full ones stay in the prefix cache,
 * so computing them again usually costs little. `schedule` and `complete` are apart, so that a backend may answer later;
 * a step can be planned while one is under way (`step-ahead.ts`). Where it cannot, what is under way comes back first, and
 * then the proof above holds for the next step.
 */
import type { RowResult, StepResult } from "./backend.ts";
import type { BeamGroup } from "./beam-group.ts";
import type { BlockManager } from "./block-manager.ts";
import type { DraftDemand } from "./draft-model.ts";
import type { Drafter } from "./drafter.ts";
import { RunningSet } from "./running-set.ts";
import { checkSchedulerInvariants } from "./scheduler-invariants.ts";
import { countDrafts, newSchedulerStats } from "./scheduler-stats.ts";
import type { Sequence } from "./sequence.ts";
import { SequenceQueue } from "./sequence-queue.ts";
import { Speculation, type SpeculationSettings } from "./speculation.ts";
import { canStepAhead } from "./step-ahead.ts";
import { StepPlan } from "./step-plan.ts";
import { type PlannerOptions, StepPlanner } from "./step-planner.ts";
import { UnsavedBlocks } from "./unsaved-blocks.ts";

/** A sequence that was in so many lost steps without a token between is what brings them about. */
const CRASHES_MAX = 4;

export interface SchedulerOptions extends PlannerOptions {
  /** Most sequences that run at once. */
  numRunningMax: number;
  /** Size of the vocabulary, to reject a backend's nonsense. */
  vocabSize: number;
  /** null = one token for each decode. */
  speculation: SpeculationSettings | null;
  createDrafter: (sequence: Sequence) => Drafter;
}

export class Scheduler {
  readonly stats = newSchedulerStats();
  readonly #blocks: BlockManager;
  readonly #vocabSize: number;
  /** In order of admission. */
  readonly #running: RunningSet;
  readonly #waiting = new SequenceQueue();
  readonly #unsaved: UnsavedBlocks;
  readonly #speculation: Speculation | null;
  readonly #planner: StepPlanner;
  readonly #sparePlans: StepPlan[] = [];
  /** Planned and not handed back, the oldest first. */
  readonly #underWay: StepPlan[] = [];

  constructor(blocks: BlockManager, options: SchedulerOptions) {
    for (const name of ["tokenBudget", "prefillChunkTokens", "numRunningMax"] as const) {
      if (!Number.isInteger(options[name]) || options[name] < 1) {
        throw new Error(`Scheduler option ${name} must be an integer of at least 1, got ${options[name]}.`);
      }
    }
    this.#blocks = blocks;
    this.#unsaved = new UnsavedBlocks(blocks);
    const numRunningMax = Math.min(options.numRunningMax, options.tokenBudget);
    this.#running = new RunningSet(blocks, this.#waiting, this.#unsaved, numRunningMax);
    this.#vocabSize = options.vocabSize;
    this.#speculation =
      options.speculation === null ? null : new Speculation(blocks, options.speculation, options.createDrafter);
    const [running, waiting, unsaved] = [this.#running, this.#waiting, this.#unsaved];
    const { stats } = this;
    this.#planner = new StepPlanner(
      { blocks, running, waiting, unsaved, speculation: this.#speculation, stats },
      options,
    );
  }

  get numRunningMax(): number {
    return this.#running.numPlacesMax;
  }

  get running(): readonly Sequence[] {
    return this.#running.sequences;
  }

  get waiting(): Iterable<Sequence> {
    return this.#waiting;
  }

  get numWaiting(): number {
    return this.#waiting.length;
  }

  /** Ended sequences whose blocks wait for being archived. */
  get numUnsaved(): number {
    return this.#unsaved.length;
  }

  /** Is the head of the queue waited for, because its blocks are being restored? */
  get awaitsRestore(): boolean {
    return this.#waiting.first?.needsRestore === true;
  }

  /** What the next step would ask drafters for, were it planned now. */
  get draftDemands(): DraftDemand[] {
    return this.#speculation?.demandsOf(this.running) ?? [];
  }

  /** Throws for a sequence that the pool could not hold even alone. */
  checkFits(sequence: Sequence): void {
    const numBlocks = sequence.beams?.numBlocksMax(this.#blocks) ?? this.#blocks.numBlocksFor(sequence.numTokensMax);
    if (numBlocks <= this.#blocks.numBlocks) return;
    throw new Error(
      `A sequence of up to ${sequence.numTokensMax} tokens needs ${numBlocks} KV blocks of ` +
        `${this.#blocks.blockTokens} tokens; the pool has ${this.#blocks.numBlocks}. Lower its maxTokens.`,
    );
  }

  /** Queues a sequence (with its siblings) that fits. The caller has checked the queue's bound. */
  add(sequence: Sequence): void {
    this.checkFits(sequence);
    this.#waiting.pushBack(sequence);
  }

  /** Ends a sequence now and frees what it holds; siblings that are not born yet end with it. Safe at any time. */
  abort(sequence: Sequence): void {
    for (const one of sequence.beams?.live ?? [sequence, ...sequence.siblings]) {
      if (one.status === "waiting") this.#waiting.remove(one);
      if (one.status === "running") this.#running.stop(one, one.archive === null ? null : this.stats.numSteps);
      one.status = "finished";
    }
    if (this.running.length === 0 && this.#waiting.length === 0) this.#unsaved.giveUpAll();
  }

  /** May its owner restore what its archive has? */
  isRestoreDue(sequence: Sequence): boolean {
    return this.#planner.isRestoreDue(sequence);
  }

  /** These blocks, a chain from its beginning, are archived. */
  saved(blocks: ArrayLike<number>): void {
    this.#unsaved.saved(blocks);
  }

  /**
   * The next step, or null when there is nothing to compute, or not before what is under way is back. Hand it back through
   * `complete` or `drop`, in the order in which steps were planned.
   */
  schedule(): StepPlan | null {
    const isAhead = this.#underWay.length > 0;
    if (isAhead && !this.#canStepAhead()) return null;
    const plan = this.#sparePlans.pop() ?? new StepPlan();
    this.#planner.fill(plan, isAhead);
    if (plan.numTokens === 0) {
      this.#sparePlans.push(plan);
      return null;
    }
    this.#underWay.push(plan);
    this.stats.numSteps++;
    if (isAhead) this.stats.numStepsAhead++;
    this.stats.numStepTokens += plan.numTokens;
    return plan;
  }

  /** Takes in what a step computed. A listener that throws fails its own sequence only. */
  complete(plan: StepPlan, result: StepResult): void {
    this.#take(plan);
    let row = 0;
    for (let i = 0; i < plan.sequences.length; i++) {
      const sequence = plan.sequences[i]!;
      const numRows = plan.numRows[i]!;
      if (sequence.status === "running") {
        if (plan.draws[i]) sequence.numDrawn--;
        try {
          const drafts = plan.drafts[i]!;
          let numAccepted = 0;
          if (drafts.length > 0) numAccepted = this.#verify(sequence, drafts, result.rows, row);
          else this.#advance(sequence, plan.chunks[i]!, result.rows, row, row + numRows);
          countDrafts(this.stats, drafts.length, numAccepted);
          this.#speculation?.learn(sequence, drafts.length, numAccepted, result.rows, row);
        } catch (error) {
          this.fail(sequence, error);
        }
      }
      row += numRows;
    }
    this.#sparePlans.push(plan);
  }

  /** Every sequence of a step that could not be computed fails. */
  drop(plan: StepPlan, error: unknown): void {
    this.#take(plan);
    for (const sequence of plan.sequences) this.fail(sequence, error);
    this.#sparePlans.push(plan);
  }

  fail(sequence: Sequence, error: unknown): void {
    if (sequence.status === "finished") return;
    this.abort(sequence);
    sequence.listener.failed(error);
  }

  /**
   * The backend went down with the steps under way and took the content of all blocks with it: no prefix is known any
   * more, and whoever runs starts again from its tokens. Any of the steps may be the cause, so each of them computes alone
   * until it has a token (`step-planner.ts`); only the one that brings the backend down again and again fails.
   */
  lose(error: unknown): void {
    const plans = this.#underWay.splice(0);
    for (const sequence of new Set(plans.flatMap(({ sequences }) => sequences))) {
      if (++sequence.numCrashes > CRASHES_MAX) this.fail(sequence, error);
    }
    for (const { sequences } of plans) this.#speculation?.forgetProposals(sequences);
    while (this.running.length > 0) this.#running.requeueLast();
    this.#unsaved.giveUpAll();
    this.#blocks.forgetContent();
    this.#sparePlans.push(...plans);
  }

  /** Throws where the scheduler's and the blocks' states disagree. For tests. */
  checkInvariants(): void {
    const { running } = this;
    const [waiting, unsaved] = [this.#waiting, this.#unsaved];
    const [blocks, { numRunningMax }, numUnderWay] = [this.#blocks, this, this.#underWay.length];
    checkSchedulerInvariants({ blocks, running, numRunningMax, numUnderWay, waiting, unsaved });
  }

  #canStepAhead(): boolean {
    const next = this.#waiting.first;
    return canStepAhead({
      blocks: this.#blocks,
      running: this.running,
      next,
      speculates: this.#speculation !== null,
    });
  }

  #take(plan: StepPlan): void {
    const at = this.#underWay.indexOf(plan);
    if (at < 0) throw new Error("This step is not under way.");
    this.#underWay.splice(at, 1);
  }

  #advance(sequence: Sequence, numTokens: number, rows: RowResult[], rowStart: number, rowEnd: number): void {
    sequence.numComputed += numTokens;
    this.#blocks.commit(sequence.table!, sequence, sequence.numComputed);
    const isSampled = sequence.numRemaining === 0 && sequence.maxTokens > 0;
    const numSamples = isSampled ? 1 + sequence.siblings.length : 0;
    const firstSample = rowEnd - numSamples;
    for (let row = rowStart; row < firstSample; row++) {
      sequence.listener.promptScored(++sequence.numScored, rows[row]!);
    }
    if (sequence.numRemaining > 0) return;
    if (sequence.beams !== null) {
      this.#advanceBeams(sequence.beams, rows[firstSample]!);
      return;
    }
    const siblings = sequence.siblings;
    // Before the first choice is accepted: it may end with its first token and give the prompt's blocks back.
    if (siblings.length > 0) this.#running.fork(sequence);
    this.#accept(sequence, isSampled ? rows[firstSample]! : null);
    for (let i = 0; i < siblings.length; i++) {
      this.#accept(siblings[i]!, isSampled ? rows[firstSample + 1 + i]! : null);
    }
  }

  /**
   * A decode with drafts: every row is a token, up to the first that differs from its draft.
   * @returns the number of drafts that were generated
   */
  #verify(sequence: Sequence, drafts: readonly number[], rows: RowResult[], rowStart: number): number {
    let numAccepted = 0;
    sequence.numDraftedTokens += drafts.length;
    for (let isAccepted = true; isAccepted && sequence.status === "running"; ) {
      const row = rows[rowStart + numAccepted]!;
      // Not of the last row, which has no draft to compare with.
      isAccepted = row.token === drafts[numAccepted];
      if (isAccepted) {
        numAccepted++;
        sequence.numAcceptedTokens++;
      }
      sequence.numComputed++;
      this.#blocks.commit(sequence.table!, sequence, sequence.numComputed);
      this.#accept(sequence, row);
    }
    if (sequence.status === "running") {
      this.#blocks.truncate(sequence.table!, sequence.numComputed);
      sequence.setComputed(sequence.numComputed);
    }
    return numAccepted;
  }

  /** A search goes on when the rows of all its beams are here: they are always of one step. */
  #advanceBeams(group: BeamGroup, row: RowResult): void {
    if (!group.take(row) || this.#running.goOn(group)) return;
    this.abort(group.root);
    group.end();
  }

  /** The row of the last known token is here. @param row null where no token was wanted (`maxTokens` 0) */
  #accept(sequence: Sequence, row: RowResult | null): void {
    if (sequence.status === "finished") return;
    try {
      if (sequence.outputTokens.length === 0) sequence.listener.prefilled();
      const isStopped = row !== null && this.#append(sequence, row);
      if (!isStopped && sequence.outputTokens.length < sequence.maxTokens) return;
      this.abort(sequence);
      sequence.listener.finished(isStopped ? "stop" : "length");
    } catch (error) {
      this.abort(sequence);
      sequence.listener.failed(error);
    }
  }

  #append(sequence: Sequence, row: RowResult): boolean {
    if (!(row.token >= 0 && row.token < this.#vocabSize)) {
      throw new Error(`The backend sampled token ${row.token}; the vocabulary has ${this.#vocabSize}.`);
    }
    const isOver = sequence.append(row.token);
    sequence.numCrashes = 0;
    return sequence.listener.token(row) || isOver;
  }
}
