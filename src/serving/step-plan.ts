/**
 * One scheduled step: the batch for the backend, and beside it which sequence computes how many tokens. Plans are
 * reused, so that a decode step leaves no garbage.
 */
import type { StepBatch } from "./backend.ts";
import type { Sequence } from "./sequence.ts";

export class StepPlan {
  readonly batch: StepBatch = { copies: [], sequences: [] };
  /** Parallel to `batch.sequences`. */
  readonly sequences: Sequence[] = [];
  /** Tokens of each sequence in this step. */
  readonly chunks: number[] = [];
  numTokens = 0;
  /** Rows that the backend has to return. */
  numOutputs = 0;

  /** The sequence's table must cover the tokens by now. */
  add(sequence: Sequence, numTokens: number): void {
    this.sequences.push(sequence);
    this.chunks.push(numTokens);
    const input = sequence.stepInput(numTokens);
    this.batch.sequences.push(input);
    this.numTokens += numTokens;
    this.numOutputs += input.outputs.length;
  }

  clear(): void {
    this.batch.copies.length = 0;
    this.batch.sequences.length = 0;
    this.sequences.length = 0;
    this.chunks.length = 0;
    this.numTokens = 0;
    this.numOutputs = 0;
  }
}
