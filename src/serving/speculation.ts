/**
 * Speculative decoding (Leviathan et al. 2022, arXiv:2211.17192) for the scheduler: a decode carries, behind its one
 * token, a few drafts of the next ones, and every row of it is sampled. Row i is drawn as plain decoding draws after the
 * same tokens: the draw depends on the logits, on the counter of the token and on the tokens before it, and a backend's
 * logits do not depend on how tokens were cut into steps. So the tokens up to the first one that differs from its draft
 * are the tokens of plain decoding, greedy or sampled, and no text ever changes. (The paper's rejection sampling keeps
 * only the distribution; equal draws keep the text.)
 *
 * Drafts live on what a step has left: no token of the budget, no block and no step of anybody else is taken for them.
 * Blocks behind the accepted tokens go back after the step; what refused drafts wrote into the last one is overwritten
 * before it is read, and only accepted positions are committed to the prefix cache.
 */
import type { RowResult } from "./backend.ts";
import type { BlockManager } from "./block-manager.ts";
import type { DraftDemand } from "./draft-model.ts";
import {
  afterStep,
  chooseNumDrafts,
  type DraftCosts,
  type DraftState,
  INITIAL_DRAFT_STATE,
  NUM_DRAFTS_MAX,
} from "./draft-policy.ts";
import type { Drafter } from "./drafter.ts";
import type { Sequence } from "./sequence.ts";
import type { StepPlan } from "./step-plan.ts";

/** "auto": where the backend says what a row costs it; a number of drafts: always, at most so many. */
export type SpeculationOption = "auto" | "off" | { maxDrafts: number };

export interface SpeculationSettings {
  numDraftsMax: number;
  /** Of each further row of a decode, as a share of a step with one row. */
  rowCost: number;
}

/**
 * Most sequences that decode in a step with drafts. Decodes in one step share the weights' way through memory already,
 * so a draft saves less with each: at a row cost of 1/4 it pays when it is right in 25 % of the cases for one sequence,
 * 40 % for two, 50 % for three, 57 % for four, and it delays the others' tokens.
 */
export const NUM_DRAFTING_MAX = 2;

/** Where drafts are asked for and the backend does not know: four sequences at 2.3 times the speed of one. */
const ROW_COST_ASSUMED = 0.25;

/** @returns null = no speculation */
export function speculationSettings(
  option: SpeculationOption,
  measuredRowCost: number | undefined,
): SpeculationSettings | null {
  if (option === "off") return null;
  if (option === "auto") {
    return measuredRowCost === undefined ? null : { numDraftsMax: NUM_DRAFTS_MAX, rowCost: measuredRowCost };
  }
  const { maxDrafts } = option;
  if (!Number.isInteger(maxDrafts) || maxDrafts < 1 || maxDrafts > NUM_DRAFTS_MAX) {
    throw new Error(`Speculation takes 1 to ${NUM_DRAFTS_MAX} drafts, got ${maxDrafts}; "off" switches it off.`);
  }
  return { numDraftsMax: maxDrafts, rowCost: measuredRowCost ?? ROW_COST_ASSUMED };
}

/** What is known of one sequence. */
interface Track {
  drafter: Drafter;
  state: DraftState;
  /** What the drafter said of the step under way; null where it was not asked. */
  proposal: readonly number[] | null;
  costs: DraftCosts;
}

export class Speculation {
  readonly #blocks: BlockManager;
  readonly #settings: SpeculationSettings;
  readonly #createDrafter: (sequence: Sequence) => Drafter;
  readonly #tracks = new WeakMap<Sequence, Track>();

  constructor(blocks: BlockManager, settings: SpeculationSettings, createDrafter: (sequence: Sequence) => Drafter) {
    this.#blocks = blocks;
    this.#settings = settings;
    this.#createDrafter = createDrafter;
  }

  /** What drafters would be asked for in a step of these, for those who need time before. */
  demandsOf(running: readonly Sequence[]): DraftDemand[] {
    const numSequences = running.length;
    // A step with a piece of a prompt carries no drafts.
    if (numSequences > NUM_DRAFTING_MAX || running.some(({ numRemaining }) => numRemaining !== 1)) return [];
    const costs = { rowCost: this.#settings.rowCost, numSequences };
    return running.flatMap((sequence) => {
      const numRoom = this.#roomOf(sequence);
      if (numRoom < 1 || !canDraft(sequence)) return [];
      return [{ sequence, numTokens: chooseNumDrafts(this.#trackOf(sequence, costs).state, costs, numRoom) + 1 }];
    });
  }

  /**
   * Adds drafts to a plan of decodes that is otherwise complete.
   * @param numTokensLeft of the step's budget
   */
  extend(plan: StepPlan, numTokensLeft: number): void {
    const { numSequences } = plan;
    if (numSequences > NUM_DRAFTING_MAX) return;
    const costs = { rowCost: this.#settings.rowCost, numSequences };
    let numLeft = numTokensLeft;
    for (let i = 0; i < numSequences; i++) {
      const sequence = plan.sequences[i]!;
      const numRoom = Math.min(numLeft, this.#roomOf(sequence));
      if (numRoom < 1) continue;
      const drafts = this.#draftsOf(sequence, costs, numRoom);
      if (drafts.length === 0) continue;
      const start = sequence.numComputed;
      // No copies: the decode's own position was made writable before, and what lies behind it is new.
      if (!this.#blocks.prepareWrite(sequence.table!, start, start + 1 + drafts.length, plan.batch.copies)) {
        throw new Error("Blocks that were counted as free are not.");
      }
      plan.addDrafts(i, drafts);
      numLeft -= drafts.length;
    }
  }

  /**
   * A step of `sequence` is over.
   * @param firstRow its sampled rows begin here; 1 + numAccepted of them count
   */
  learn(
    sequence: Sequence,
    numDrafted: number,
    numAccepted: number,
    rows: readonly RowResult[],
    firstRow: number,
  ): void {
    const track = this.#tracks.get(sequence);
    if (track === undefined || track.proposal === null) return;
    const { proposal, costs } = track;
    // Behind the last draft the proposal has one token more, which tells about the last row.
    const numSeen = Math.min(proposal.length, 1 + numAccepted);
    let numRight = 0;
    while (numRight < numSeen && rows[firstRow + numRight]!.token === proposal[numRight]) numRight++;
    track.state = afterStep(track.state, costs, { numDrafted, numAccepted, numRight, hasWrong: numRight < numSeen });
    track.proposal = null;
  }

  /** Their step was lost: what was proposed for it says nothing about the next one. */
  forgetProposals(sequences: readonly Sequence[]): void {
    for (const sequence of sequences) {
      const track = this.#tracks.get(sequence);
      if (track !== undefined) track.proposal = null;
    }
  }

  /** Drafts that the sequence can use: tokens it may still generate beyond the next one, and blocks that are free. */
  #roomOf(sequence: Sequence): number {
    const numWanted = sequence.maxTokens - sequence.outputTokens.length - 1;
    const numBlocks = sequence.table!.numBlocks + this.#blocks.numFreeBlocks;
    const numHoldable = numBlocks * this.#blocks.blockTokens - sequence.numTokens;
    return Math.min(numWanted, numHoldable, this.#settings.numDraftsMax);
  }

  #draftsOf(sequence: Sequence, costs: DraftCosts, numRoom: number): readonly number[] {
    if (!canDraft(sequence)) return [];
    const track = this.#trackOf(sequence, costs);
    // Certain, so that they cost less than steps of their own would, whatever the policy thinks of guesses.
    const forced = sequence.forcedTokens(numRoom);
    if (forced.length > 0) return forced;
    const numDrafts = chooseNumDrafts(track.state, costs, numRoom);
    track.costs = costs;
    const proposal = track.drafter.propose(sequence, numDrafts + 1);
    track.proposal = proposal;
    return sequence.allowedDrafts(proposal.slice(0, numDrafts));
  }

  #trackOf(sequence: Sequence, costs: DraftCosts): Track {
    let track = this.#tracks.get(sequence);
    if (track === undefined) {
      track = { drafter: this.#createDrafter(sequence), state: INITIAL_DRAFT_STATE, proposal: null, costs };
      this.#tracks.set(sequence, track);
    }
    return track;
  }
}

/** The first token of a sequence is not sampled behind drafts: parallel samples fork there. Beams fork at every token. */
function canDraft({ outputTokens, beams }: Sequence): boolean {
  return outputTokens.length > 0 && beams === null;
}
