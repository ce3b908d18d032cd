/**
 * One scheduled step: the batch for the backend, and beside it which sequence computes how many tokens. Plans are
 * reused and overwrite themselves, so that a decode step leaves no garbage; what a plan still names after its step are
 * the sequences of that one step. A batch's objects belong to its sequences, which use them again for the next step, also
 * while this one is under way: what has to be known then is kept beside it.
 */
import type { StepBatch } from "./backend.ts";
import type { Sequence } from "./sequence.ts";

const NO_DRAFTS: readonly number[] = [];

export class StepPlan {
  readonly batch: StepBatch = { copies: [], sequences: [] };
  /** Parallel to `batch.sequences`. */
  readonly sequences: Sequence[] = [];
  /** Tokens of each sequence in this step, without drafts. */
  readonly chunks: number[] = [];
  /** Rows that the backend returns for each. */
  readonly numRows: number[] = [];
  /** Whether it draws a token for each. */
  readonly draws: boolean[] = [];
  /** Guessed tokens behind them (`speculation.ts`). */
  readonly drafts: (readonly number[])[] = [];
  numSequences = 0;
  numTokens = 0;
  /** Rows that the backend has to return. */
  numOutputs = 0;

  begin(): void {
    if (this.batch.copies.length > 0) this.batch.copies.length = 0;
    this.numSequences = 0;
    this.numTokens = 0;
    this.numOutputs = 0;
  }

  /** The sequence's table must cover the tokens by now. */
  add(sequence: Sequence, numTokens: number): void {
    const draws = sequence.samplesWith(numTokens);
    const input = sequence.stepInput(numTokens);
    const i = this.numSequences++;
    sequence.schedule(numTokens, draws ? i : null);
    this.batch.sequences[i] = input;
    this.sequences[i] = sequence;
    this.chunks[i] = numTokens;
    this.drafts[i] = NO_DRAFTS;
    this.numRows[i] = input.outputs.length;
    this.draws[i] = draws;
    this.numTokens += numTokens;
    this.numOutputs += input.outputs.length;
  }

  /** Lets the decode at `index` carry drafts too. The sequence's table must cover them by now. */
  addDrafts(index: number, drafts: readonly number[]): void {
    this.batch.sequences[index] = this.sequences[index]!.draftedInput(drafts);
    this.drafts[index] = drafts;
    this.numRows[index] = 1 + drafts.length;
    this.numTokens += drafts.length;
    this.numOutputs += drafts.length;
  }

  /** Cuts off what is left of a longer step before. */
  end(): void {
    if (this.sequences.length === this.numSequences) return;
    this.batch.sequences.length = this.numSequences;
    this.sequences.length = this.numSequences;
    this.chunks.length = this.numSequences;
    this.numRows.length = this.numSequences;
    this.draws.length = this.numSequences;
    this.drafts.length = this.numSequences;
  }
}
