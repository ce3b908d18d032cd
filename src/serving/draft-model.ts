/**
 * A small model that guesses for a large one: a drafter (`drafter.ts`) with a backend and a KV cache of its own.
 *
 * A scheduler plans at once and a backend may answer later, so guesses are made before a step is planned (`prepare`), for
 * the sequences that will be asked about, and handed out when they are (`drafterOf`). Each token is drawn as the large
 * model will draw it, with the same parameters, key and counter: where the two models agree on the probabilities they
 * agree on the token, sampled or greedy.
 *
 * Few sequences draft at a time, so each has a fixed part of the cache. A cache is brought into step by position: what it
 * holds beyond the tokens that it has in common with the sequence is overwritten before it is read. What is guessed
 * cannot change a text, so any fault of this model ends the guessing and nothing else.
 */
import type { Backend, MaybePromise, StepSequence } from "./backend.ts";
import type { Drafter } from "./drafter.ts";
import type { Sequence } from "./sequence.ts";

/** A sequence that is about to be asked for drafts. */
export interface DraftDemand {
  sequence: Sequence;
  /** At least 1. */
  numTokens: number;
}

/** A part of the cache, and whose tokens are in it. */
interface Lane {
  readonly blockTable: Int32Array;
  owner: WeakRef<Sequence> | null;
  /** Tokens whose keys and values are computed. */
  tokens: number[];
  /** What follows the owner's tokens when it had `numKnown` of them. */
  guesses: number[];
  numKnown: number;
  /** Number of the preparation that used it last. */
  usedAt: number;
}

interface Job extends DraftDemand {
  lane: Lane;
}

export class DraftModel {
  readonly #backend: Backend;
  readonly #onFault: (error: unknown) => void;
  readonly #lanes: Lane[];
  readonly #numTokensMax: number;
  #numPreparations = 0;
  #isLost = false;

  /**
   * @param numLanes most sequences that draft at a time
   * @param onFault heard once: nothing is guessed any more
   */
  constructor(backend: Backend, numLanes: number, onFault: (error: unknown) => void) {
    const { numBlocks, blockTokens, contextLength, maxBatchTokens } = backend.limits;
    const numLaneBlocks = Math.floor(numBlocks / numLanes);
    if (numLaneBlocks < 1 || maxBatchTokens < numLanes) {
      throw new Error(
        `A draft model for ${numLanes} sequences needs as many KV blocks and tokens of a step, got ${numBlocks} and ` +
          `${maxBatchTokens}.`,
      );
    }
    this.#backend = backend;
    this.#onFault = onFault;
    this.#numTokensMax = Math.min(contextLength, numLaneBlocks * blockTokens);
    this.#lanes = Array.from({ length: numLanes }, (_, lane) => ({
      blockTable: Int32Array.from({ length: numLaneBlocks }, (_, i) => lane * numLaneBlocks + i),
      owner: null,
      tokens: [],
      guesses: [],
      numKnown: 0,
      usedAt: 0,
    }));
  }

  /** Hands out what was prepared for this sequence as it is now. */
  drafterOf(sequence: Sequence): Drafter {
    return {
      propose: (history, numDraftsMax) => {
        const lane = this.#lanes.find(({ owner }) => owner?.deref() === sequence);
        return lane?.numKnown === history.numTokens ? lane.guesses.slice(0, numDraftsMax) : [];
      },
    };
  }

  /** Guesses for as many of these as there are lanes. @returns a promise only where the backend gives one, never rejected */
  prepare(demands: readonly DraftDemand[]): MaybePromise<void> {
    if (this.#isLost) return;
    const jobs = this.#jobsOf(demands);
    while (jobs.some(isOpen)) {
      const step = this.#step(jobs);
      if (step instanceof Promise) return this.#prepareLater(jobs, step);
    }
  }

  async #prepareLater(jobs: readonly Job[], first: Promise<void>): Promise<void> {
    await first;
    while (!this.#isLost && jobs.some(isOpen)) await this.#step(jobs);
  }

  #jobsOf(demands: readonly DraftDemand[]): Job[] {
    this.#numPreparations++;
    const fitting = demands.filter(({ sequence, numTokens }) => sequence.numTokens + numTokens <= this.#numTokensMax);
    return fitting.slice(0, this.#lanes.length).map((demand) => ({ ...demand, lane: this.#laneOf(demand.sequence) }));
  }

  /** Its own, or that which was not used for the longest time; in step with its tokens. */
  #laneOf(sequence: Sequence): Lane {
    const own = this.#lanes.find(({ owner }) => owner?.deref() === sequence);
    const lane = own ?? this.#lanes.reduce((oldest, one) => (one.usedAt < oldest.usedAt ? one : oldest));
    lane.owner = new WeakRef(sequence);
    lane.usedAt = this.#numPreparations;
    // The last token is always computed: what follows it is asked for.
    const numMax = Math.min(lane.tokens.length, sequence.numTokens - 1);
    let numEqual = 0;
    while (numEqual < numMax && lane.tokens[numEqual] === sequence.tokenAt(numEqual)) numEqual++;
    lane.tokens.length = numEqual;
    lane.guesses = [];
    lane.numKnown = sequence.numTokens;
    return lane;
  }

  /** A step for all jobs that are open: a piece of what is known, or one guess. */
  #step(jobs: readonly Job[]): MaybePromise<void> {
    const open = jobs.filter(isOpen);
    const numTokensMax = Math.floor(this.#backend.limits.maxBatchTokens / open.length);
    const sequences = open.map((job) => stepInput(job, numTokensMax));
    const finish = (tokens: readonly number[]): void => {
      let row = 0;
      for (const [i, { lane }] of open.entries()) {
        lane.tokens.push(...Array.from(sequences[i]!.tokens));
        if (sequences[i]!.outputs.length > 0) lane.guesses.push(tokens[row++]!);
      }
    };
    try {
      const result = this.#backend.step({ copies: [], sequences });
      if (!(result instanceof Promise)) return finish(result.rows.map(({ token }) => token));
      return result.then(
        ({ rows }) => finish(rows.map(({ token }) => token)),
        (error) => this.#lose(error),
      );
    } catch (error) {
      this.#lose(error);
    }
  }

  #lose(error: unknown): void {
    this.#isLost = true;
    for (const lane of this.#lanes) {
      lane.owner = null;
      lane.guesses = [];
    }
    this.#onFault(error);
  }
}

/** Not when its sequence ended meanwhile. */
function isOpen({ sequence, numTokens, lane }: Job): boolean {
  return sequence.status === "running" && lane.guesses.length < numTokens && lane.owner !== null;
}

function stepInput({ sequence, lane }: Job, numTokensMax: number): StepSequence {
  const { tokens: computed, guesses, numKnown, blockTable } = lane;
  const start = computed.length;
  const numLeft = numKnown + guesses.length - start;
  const length = Math.min(numLeft, numTokensMax);
  const tokens = Array.from({ length }, (_, i) => {
    const position = start + i;
    return position < numKnown ? sequence.tokenAt(position) : guesses[position - numKnown]!;
  });
  const sample = length === numLeft ? sequence.sampleAfter(guesses) : null;
  const row = { row: length - 1, sample, scoreToken: null, numLogprobs: null, wantLogits: false };
  return { tokens, startPosition: start, blockTable, outputs: sample === null ? [] : [row] };
}
