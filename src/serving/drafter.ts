/**
 * Speculation's guesser: what might come next, at a price far below a step of the model. A wrong guess costs time and
 * never changes the text, because every draft is verified (`speculation.ts`). There are
 * `PromptLookupDrafter`, which needs no model, and `DraftModel`, a small one beside a large one.
 */
import type { TokenSource } from "./block-manager.ts";

/** The tokens of a sequence, prompt and output. It only ever grows at its end. */
export interface TokenHistory extends TokenSource {
  readonly numTokens: number;
}

/** Of one sequence: it may keep what it learned of the tokens before. */
export interface Drafter {
  /** The likely continuation of `history`, at most `numDraftsMax` tokens; empty where nothing is likely. */
  propose(history: TokenHistory, numDraftsMax: number): number[];
}
