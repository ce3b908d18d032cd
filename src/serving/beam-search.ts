/**
 * Beam search over log probabilities, as vLLM does it: which beams a step's rows lead to, which have ended, and when no
 * further step can change the answer. It knows tokens and numbers only; blocks and sequences are `beam-group.ts`'s.
 *
 *  - Candidates are the 2 · width most likely tokens of each beam. One that ends an answer is set aside as a finished
 *    beam; of the others the `width` with the highest sum of logprobs go on. Of equal ones the better parent's comes
 *    first, then the parent's more likely token.
 *  - A score is the sum of logprobs, the ending token's included, over length^lengthPenalty. The length is that of prompt
 *    and answer without the ending token, as in vLLM; positive penalties (they raise a negative score) favour long ones.
 *  - At `numTokensMax` the beams that go on are finished, too. The best `width` of all finished ones are the result.
 *
 * vLLM always searches to the last token. Here it ends as soon as no beam can come to a better score than the worst of
 * `width` finished ones, which gives the same result: a sum of logprobs only falls, so its best future score is known.
 */
import type { BeamParams } from "../protocol/generate.ts";
import type { RowResult } from "./backend.ts";

export interface BeamSearchOptions extends BeamParams {
  numPromptTokens: number;
  /** Of an answer; at least 1. */
  numTokensMax: number;
  isEnd: (token: number) => boolean;
}

/** The last token of a beam. Beams share the tokens in which they are equal. */
interface BeamToken {
  row: RowResult;
  previous: BeamToken | null;
}

interface Beam {
  last: BeamToken | null;
  /** Sum of logprobs. */
  logprob: number;
}

/** A beam that goes on: the one of index `parent` before, and this token. */
export interface BeamStep {
  parent: number;
  token: number;
}

export interface FinishedBeam {
  /** Its tokens as rows that drew them, the ending one included. */
  rows: RowResult[];
  reason: "stop" | "length";
  score: number;
}

interface ScoredBeam extends Beam {
  reason: FinishedBeam["reason"];
  score: number;
}

interface Candidate extends BeamStep {
  beam: Beam;
}

/** Rows that beams are chosen from report so many alternatives. */
export function numCandidates({ width }: Pick<BeamParams, "width">): number {
  return 2 * width;
}

export class BeamSearch {
  readonly #options: BeamSearchOptions;
  /** Best first. */
  #beams: Beam[] = [{ last: null, logprob: 0 }];
  #numTokens = 0;
  /** At most `width`, best first. */
  #finished: ScoredBeam[] = [];

  constructor(options: BeamSearchOptions) {
    this.#options = options;
  }

  /**
   * @param rows one for each beam that goes on, with its alternatives
   * @returns the beams that go on now, best first; empty = the search is over
   */
  advance(rows: readonly RowResult[]): BeamStep[] {
    const { width, isEnd, numTokensMax } = this.#options;
    const candidates = this.#candidatesOf(rows);
    for (const { token, beam } of candidates) if (isEnd(token)) this.#finish(beam, "stop");
    const best = candidates.filter(({ token }) => !isEnd(token)).slice(0, width);
    this.#beams = best.map(({ beam }) => beam);
    this.#numTokens++;
    if (this.#numTokens === numTokensMax) for (const beam of this.#beams.splice(0)) this.#finish(beam, "length");
    // A beam that is not followed to its end is no answer.
    if (this.#isDecided()) this.#beams = [];
    return best.slice(0, this.#beams.length).map(({ parent, token }) => ({ parent, token }));
  }

  /** The best `width` beams of those that have finished and, where it is not over, those that go on; best first. */
  results(): FinishedBeam[] {
    const open = this.#numTokens === 0 ? [] : this.#beams;
    const all = [...this.#finished, ...open.map((beam) => this.#scored(beam, "length"))];
    const best = all.sort(byScore).slice(0, this.#options.width);
    return best.map(({ last, reason, score }) => ({ rows: rowsTo(last), reason, score }));
  }

  #candidatesOf(rows: readonly RowResult[]): Candidate[] {
    const numWanted = numCandidates(this.#options);
    const candidates = rows.flatMap((row, parent) => {
      if (row.top.length < numWanted) {
        throw new Error(`A beam's row has ${row.top.length} alternatives; the search needs ${numWanted}.`);
      }
      const before = this.#beams[parent]!;
      return row.top.slice(0, numWanted).map(({ token, logprob }) => ({
        parent,
        token,
        beam: {
          last: { row: { ...row, token, logprob }, previous: before.last },
          logprob: before.logprob + logprob,
        },
      }));
    });
    return candidates.sort((a, b) => compare(b.beam.logprob, a.beam.logprob));
  }

  #finish(beam: Beam, reason: FinishedBeam["reason"]): void {
    this.#finished.push(this.#scored(beam, reason));
    this.#finished.sort(byScore);
    this.#finished.length = Math.min(this.#finished.length, this.#options.width);
  }

  #scored(beam: Beam, reason: FinishedBeam["reason"]): ScoredBeam {
    // `#numTokens` does not count the token that ends a beam.
    return { ...beam, reason, score: this.#scoreOf(beam.logprob, this.#numTokens) };
  }

  #scoreOf(logprob: number, numTokens: number): number {
    return logprob / (this.#options.numPromptTokens + numTokens) ** this.#options.lengthPenalty;
  }

  #isDecided(): boolean {
    const { width, stopsEarly, numTokensMax } = this.#options;
    const best = this.#beams[0];
    if (best === undefined) return true;
    if (this.#finished.length < width) return false;
    if (stopsEarly) return true;
    // Scores are negative, so they are best at the end of the range where the divisor is largest. An ending token next
    // keeps the length.
    const bound = Math.max(this.#scoreOf(best.logprob, this.#numTokens), this.#scoreOf(best.logprob, numTokensMax));
    // Of equal scores the one that finished first stays.
    return this.#finished[width - 1]!.score >= bound;
  }
}

function rowsTo(last: BeamToken | null): RowResult[] {
  const rows: RowResult[] = [];
  for (let at = last; at !== null; at = at.previous) rows.push(at.row);
  return rows.reverse();
}

function byScore(a: ScoredBeam, b: ScoredBeam): number {
  return compare(b.score, a.score);
}

/** Not a difference: that of two infinities is no number. */
function compare(a: number, b: number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
