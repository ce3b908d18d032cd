/** A drafter that knows the text and errs where it is told to: acceptance and refusal at will. */
import type { Drafter } from "../../../src/serving/drafter.ts";
import type { Sequence } from "../../../src/serving/sequence.ts";

/** @param isWrong at this index of the output. */
export function oracle(
  sequence: Sequence,
  truth: readonly number[],
  isWrong: (index: number) => boolean = () => false,
): Drafter {
  return {
    propose(history, numDraftsMax) {
      const start = history.numTokens - sequence.promptTokens.length;
      return truth
        .slice(start, start + numDraftsMax)
        .map((token, i) => (isWrong(start + i) ? (token === 0 ? 1 : token - 1) : token));
    },
  };
}
