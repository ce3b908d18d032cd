/** What a beam search needs of its engine, refused before it begins where there is not enough. */
import { invalidRequest } from "../protocol/errors.ts";
import { numCandidates } from "./beam-search.ts";

export interface BeamRoom {
  vocabSize: number;
  /** Sequences that run at once: each beam is one. */
  numRunningMax: number;
  numBlocks: number;
  blockTokens: number;
}

/** @throws ApiError 400 for a search that this engine can never run, however short */
export function checkBeamWidth(width: number, { vocabSize, numRunningMax }: BeamRoom): void {
  if (width > numRunningMax) {
    throw invalidRequest(
      `Beam search with ${width} beams needs as many places, and this model runs at most ${numRunningMax} sequences at ` +
        "once. Lower n or best_of.",
      "n",
    );
  }
  if (numCandidates({ width }) > vocabSize) {
    throw invalidRequest(
      `Beam search with ${width} beams looks at ${numCandidates({ width })} tokens, and this model knows ${vocabSize}. ` +
        "Lower n or best_of.",
      "n",
    );
  }
}

/** Longest answer whose blocks the pool holds in all beams: those of the prompt once, the others for each beam. */
export function beamTokensMax(width: number, numPromptTokens: number, { numBlocks, blockTokens }: BeamRoom): number {
  const numShared = Math.floor(numPromptTokens / blockTokens);
  const numOwn = Math.floor((numBlocks - numShared) / width);
  return (numShared + numOwn) * blockTokens - numPromptTokens;
}
