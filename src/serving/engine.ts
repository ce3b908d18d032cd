/**
 * Scheduler and backend as one machine that moves when somebody calls `step`. It runs nothing in the background: with a
 * synchronous backend `step` is synchronous from end to end, and no promise is shared between its callers. With a backend
 * that takes two steps, a call hands over the next one while one is under way (`step-ahead.ts`) and gives the promise of the
 * older. So a backend never waits for readers who read on in time, and when they stop, one step more is computed and no other.
 *
 * Faults stay small. A refused batch (any plain Error of the backend) fails the sequences of that batch. After a lost
 * backend (`BackendCrash`) the engine is dead: all KV content is forgotten, all sequences go back to the queue with their
 * tokens, and the owner is told to bring a new backend (`replaceBackend`). Then they say what they would have said, and
 * one that brings the backend down again and again fails.
 */
import { overloaded } from "../protocol/errors.ts";
import { type Backend, BackendCrash, type BackendLimits, type MaybePromise, type StepResult } from "./backend.ts";
import { BlockManager } from "./block-manager.ts";
import { DraftModel } from "./draft-model.ts";
import type { Drafter } from "./drafter.ts";
import { type KvSink, restoreBlocks, type SaveProgress, saveBlocks } from "./kv-archive.ts";
import type { EngineStats } from "./language-model.ts";
import { PromptLookupDrafter } from "./prompt-lookup.ts";
import { Scheduler } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";
import { NUM_DRAFTING_MAX, type SpeculationOption, speculationSettings } from "./speculation.ts";
import type { StepPlan } from "./step-plan.ts";
import { unusedSlots } from "./unused-slots.ts";

/**
 * Most tokens whose blocks are moved between pool and archives from one step of running streams to the next, both ways
 * together. A model that fits an isolate has 12 KB of KV for a token (q8) and moving 1 MB takes some 4 ms: so archives
 * delay a token by about 6 ms, however many sessions come and go.
 */
export const MOVED_TOKENS_PER_STEP = 128;

/** Where nothing runs no token waits, only who arrives just then: larger pieces, of about 25 ms. */
const IDLE_FACTOR = 4;

/** What an engine may take on. Where a value is left out the backend's own limit holds. */
export interface EngineLimits {
  /** Most sequences in the queue beyond those that could run at once; more are refused with 429. */
  numWaitingMax: number;
  /** Most tokens of a step, at most the backend's `maxBatchTokens`. */
  tokenBudget?: number;
  /** Most prompt tokens of a step while others decode: the longest a running stream waits for a prompt. */
  prefillChunkTokens?: number;
  /** Most sequences that run at once, at most the backend's `maxBatchSequences`. */
  numRunningMax?: number;
  /** Most tokens whose blocks go to and come from archives between two steps. Default `MOVED_TOKENS_PER_STEP`. */
  movedTokensPerStep?: number;
  /** false = every prompt is computed whole (measurements). */
  prefixCache?: boolean;
  /** Whether decodes carry drafts of the tokens to come. Default "auto". Never changes a text. */
  speculation?: SpeculationOption;
}

export interface EngineOptions {
  backend: Backend;
  limits: EngineLimits;
  /** The backend is lost: dispose of it, build another, call `replaceBackend` (or `shutdown`). */
  onCrash: (error: BackendCrash) => void;
  /** For the log: a step failed, with the requests that were in it. The clients only see a request id. */
  onFault?: (error: unknown, requestIds: string[]) => void;
  /** A smaller model of the same vocabulary that drafts for this one; its owner disposes of it. */
  draftBackend?: Backend;
  /** Where drafts come from. Default: the draft model, or else look-up in the sequence's own tokens. */
  createDrafter?: (sequence: Sequence) => Drafter;
}

/** A step that was handed over and has not been taken in. */
interface Flight {
  number: number;
  /** Never rejects. */
  landed: Promise<boolean>;
}

export class Engine {
  /** Longest sequence (prompt and output): what the model can and the pool can hold. */
  readonly contextLength: number;
  readonly limits: BackendLimits;
  readonly #options: EngineOptions;
  readonly #blocks: BlockManager;
  readonly #scheduler: Scheduler;
  readonly #draftModel: DraftModel | null;
  /** null = dead, waiting for `replaceBackend`. */
  #backend: Backend | null;
  /** The oldest first. */
  #flights: Flight[] = [];
  #numFlights = 0;
  /** The draft model guesses, for a step that is planned then; resolves with that step. */
  #drafting: Promise<boolean> | null = null;
  readonly #numBlocksMovedMax: number;
  /** Since the last step. */
  #numBlocksMoved = 0;
  #numRestoredTokens = 0;
  #revival: PromiseWithResolvers<void> | null = null;
  /** Why nothing more is taken on, after `shutdown`. */
  #shutdownError: Error | null = null;

  constructor(options: EngineOptions) {
    const { backend, limits } = options;
    this.#options = options;
    this.#backend = backend;
    this.limits = { ...backend.limits };
    this.#blocks = new BlockManager({
      numBlocks: backend.limits.numBlocks,
      blockTokens: backend.limits.blockTokens,
      prefixCache: limits.prefixCache ?? true,
    });
    this.#draftModel = this.#openDraftModel();
    const tokenBudget = Math.min(limits.tokenBudget ?? Number.POSITIVE_INFINITY, backend.limits.maxBatchTokens);
    this.#scheduler = new Scheduler(this.#blocks, {
      tokenBudget,
      prefillChunkTokens: limits.prefillChunkTokens ?? tokenBudget,
      numRunningMax: Math.min(limits.numRunningMax ?? Number.POSITIVE_INFINITY, backend.limits.maxBatchSequences),
      vocabSize: backend.limits.vocabSize,
      speculation: speculationSettings(limits.speculation ?? "auto", backend.rowCost),
      createDrafter: options.createDrafter ?? ((sequence) => this.#drafterOf(sequence)),
    });
    const movedTokens = limits.movedTokensPerStep ?? MOVED_TOKENS_PER_STEP;
    this.#numBlocksMovedMax = Math.max(1, Math.floor(movedTokens / backend.limits.blockTokens));
    this.contextLength = Math.min(backend.limits.contextLength, backend.limits.numBlocks * backend.limits.blockTokens);
  }

  get isAlive(): boolean {
    return this.#backend !== null;
  }

  get stats(): EngineStats {
    return {
      numRunning: this.#scheduler.running.length,
      numWaiting: this.#scheduler.numWaiting,
      numBlocks: this.#blocks.numBlocks,
      blockTokens: this.#blocks.blockTokens,
      numFreeBlocks: this.#blocks.numFreeBlocks,
      numCachedBlocks: this.#blocks.numCachedBlocks,
      numUnusedSlots: unusedSlots(this.#scheduler.running, this.#blocks.blockTokens),
      numUnsaved: this.#scheduler.numUnsaved,
      numRestoredTokens: this.#numRestoredTokens,
      ...this.#scheduler.stats,
    };
  }

  /** Most sequences that run at once. */
  get numRunningMax(): number {
    return this.#scheduler.numRunningMax;
  }

  /** Queues sequences, all or none. Throws `ApiError` 429 when the queue is full. */
  add(sequences: readonly Sequence[]): void {
    if (this.#shutdownError !== null) throw this.#shutdownError;
    const { numWaiting, numRunningMax, running } = this.#scheduler;
    const { numWaitingMax } = this.#options.limits;
    const numPlaces = numWaitingMax + numRunningMax - running.length - numWaiting;
    if (sequences.length > numPlaces) throw overloaded(numWaiting, numWaitingMax);
    for (const sequence of sequences) this.#scheduler.checkFits(sequence);
    for (const sequence of sequences) this.#scheduler.add(sequence);
  }

  /** Ends a sequence and frees its place and blocks at once; safe at any time, also while a step is under way. */
  abort(sequence: Sequence): void {
    this.#scheduler.abort(sequence);
  }

  /**
   * Computes one step for every running sequence. While one is under way, every caller gets the promise of the oldest.
   * @returns false when there was nothing to do, also for nobody else, or no backend to do it
   */
  step(): MaybePromise<boolean> {
    if (this.#drafting !== null) return this.#drafting;
    const oldest = this.#flights[0];
    if (oldest !== undefined) {
      this.#stepAhead();
      return oldest.landed;
    }
    if (this.#backend === null) return false;
    const drafting = this.#draftModel?.prepare(this.#scheduler.draftDemands);
    if (!(drafting instanceof Promise)) return this.#stepDrafted();
    this.#drafting = drafting.then(() => {
      this.#drafting = null;
      return this.#stepDrafted();
    });
    return this.#drafting;
  }

  #stepDrafted(): MaybePromise<boolean> {
    const isMoved = this.#handOver();
    if (isMoved instanceof Promise) this.#stepAhead();
    return isMoved;
  }

  #stepAhead(): void {
    if (this.#flights.length < this.limits.numStepsInFlight) this.#handOver();
  }

  #handOver(): MaybePromise<boolean> {
    if (this.#backend === null) return false;
    const plan = this.#scheduler.schedule();
    if (plan === null) return this.#scheduler.awaitsRestore;
    this.#numBlocksMoved = 0;
    let result: MaybePromise<StepResult>;
    try {
      result = this.#backend.step(plan.batch);
    } catch (error) {
      return this.#fail(plan, error);
    }
    if (!(result instanceof Promise)) return this.#complete(plan, result);
    const number = this.#numFlights++;
    const landed = this.#land(number, plan, result);
    this.#flights.push({ number, landed });
    return landed;
  }

  /** Takes a step in when it is back, and not before the one that was handed over before it. */
  async #land(number: number, plan: StepPlan, result: Promise<StepResult>): Promise<boolean> {
    const before = this.#flights.at(-1)?.landed;
    const finish = await result.then(
      (value) => () => this.#complete(plan, value),
      (error) => () => this.#fail(plan, error),
    );
    await before;
    // It was lost with the backend, by another step.
    if (this.#flights[0]?.number !== number) return true;
    this.#flights.shift();
    return finish();
  }

  /**
   * Restores a few blocks of a sequence from its archive, where it is about to be admitted and running streams have not
   * waited enough for archives since their last step. To be called by who drives the sequence, before `step`.
   * @returns false = step instead
   */
  restoreSome(sequence: Sequence): boolean {
    // A step under way may still write to blocks of a sequence that was aborted meanwhile, and they are free already.
    if (
      this.#backend === null ||
      this.#flights.length > 0 ||
      this.#drafting !== null ||
      !this.#scheduler.isRestoreDue(sequence)
    )
      return false;
    const numBlocksMax = this.#numBlocksMovable();
    if (numBlocksMax === 0) return false;
    const { cacheSalt, numReusableMax, archive } = sequence;
    sequence.numStepsUnrestored = 0;
    sequence.needsRestore = false;
    try {
      const { numRestored, hasMore } = restoreBlocks(
        this.#blocks,
        this.#backend,
        sequence,
        numReusableMax,
        cacheSalt,
        archive!,
        numBlocksMax,
      );
      this.#numBlocksMoved += numRestored;
      this.#numRestoredTokens += numRestored * this.limits.blockTokens;
      sequence.needsRestore = hasMore;
    } catch (error) {
      // What an archive cannot give is computed.
      this.#options.onFault?.(error, [sequence.requestId]);
    }
    return true;
  }

  /**
   * Archives a few of the full blocks of `tokens` that are in the pool: as many as running streams may wait for.
   * @returns null where there is no backend to ask
   */
  saveBlocks(tokens: readonly number[], salt: string, archive: KvSink): SaveProgress | null {
    if (this.#backend === null) return null;
    const progress = saveBlocks(this.#blocks, this.#backend, tokens, salt, archive, this.#numBlocksMovable());
    this.#numBlocksMoved += progress.numWritten;
    if (progress.isWhole) this.#scheduler.saved(progress.resident);
    return progress;
  }

  /** Goes on with a new backend of the same limits. */
  replaceBackend(backend: Backend): void {
    if (this.#backend !== null) throw new Error("The engine has a backend; only a lost one can be replaced.");
    for (const name of Object.keys(this.limits) as (keyof BackendLimits)[]) {
      if (backend.limits[name] !== this.limits[name]) {
        throw new Error(
          `The new backend has ${name} = ${backend.limits[name]}, the lost one had ${this.limits[name]}.`,
        );
      }
    }
    this.#backend = backend;
    this.#revival?.resolve();
    this.#revival = null;
  }

  /** Resolves when a dead engine has a backend again or was shut down; at once for a live one. */
  whenAlive(): Promise<void> {
    if (this.#backend !== null) return Promise.resolve();
    this.#revival ??= Promise.withResolvers();
    return this.#revival.promise;
  }

  /** Fails everything that runs or waits with `error`, and from now on whatever is added. */
  shutdown(error: Error): void {
    this.#shutdownError = error;
    for (const sequence of [...this.#scheduler.running, ...this.#scheduler.waiting]) {
      this.#scheduler.fail(sequence, error);
    }
    this.#revival?.resolve();
    this.#revival = null;
  }

  /** For tests: throws where scheduler and blocks are in a state they must never be in. */
  checkInvariants(): void {
    this.#scheduler.checkInvariants();
  }

  /** For tests: free blocks whose content nobody may read any more. */
  vacantBlocks(): number[] {
    return Array.from({ length: this.#blocks.numBlocks }, (_, block) => block).filter((b) => this.#blocks.isVacant(b));
  }

  /** Blocks that archives may move now. */
  #numBlocksMovable(): number {
    if (this.#scheduler.running.length > 0) return Math.max(0, this.#numBlocksMovedMax - this.#numBlocksMoved);
    this.#numBlocksMoved = 0;
    return this.#numBlocksMovedMax * IDLE_FACTOR;
  }

  #openDraftModel(): DraftModel | null {
    const { draftBackend, backend, onFault } = this.#options;
    if (draftBackend === undefined) return null;
    const [wanted, given] = [backend.limits.vocabSize, draftBackend.limits.vocabSize];
    if (given !== wanted) throw new Error(`The draft model knows ${given} tokens, the model ${wanted}.`);
    return new DraftModel(draftBackend, NUM_DRAFTING_MAX, (error) => onFault?.(error, []));
  }

  #drafterOf(sequence: Sequence): Drafter {
    return this.#draftModel?.drafterOf(sequence) ?? new PromptLookupDrafter();
  }

  #complete(plan: StepPlan, result: StepResult): boolean {
    if (result.rows.length !== plan.numOutputs) {
      return this.#fail(plan, new Error(`The backend returned ${result.rows.length} rows, not ${plan.numOutputs}.`));
    }
    this.#scheduler.complete(plan, result);
    return true;
  }

  #fail(plan: StepPlan, error: unknown): boolean {
    this.#options.onFault?.(error, [...new Set(plan.sequences.map((sequence) => sequence.requestId))]);
    if (!(error instanceof BackendCrash)) {
      this.#scheduler.drop(plan, error);
      return true;
    }
    // Dead before anybody hears of it: a listener that reads on must not reach the lost backend.
    this.#backend = null;
    this.#flights = [];
    this.#scheduler.lose(error);
    this.#options.onCrash(error);
    return true;
  }
}
