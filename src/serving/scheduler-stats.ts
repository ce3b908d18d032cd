/** What a scheduler counts from its beginning on. */
export interface SchedulerStats {
  prefixQueriedTokens: number;
  prefixHitTokens: number;
  numPreemptions: number;
  numSteps: number;
  /** Of these, planned and handed over while the one before was under way. */
  numStepsAhead: number;
  /** Drafts included. */
  numStepTokens: number;
  /** Decodes that carried guesses. */
  numDrafts: number;
  /** Tokens that were guessed and verified, and those of them that were right. */
  numDraftedTokens: number;
  numAcceptedTokens: number;
  /** Those that were right by their place among the guesses of a decode. */
  numAcceptedAt: number[];
}

export function newSchedulerStats(): SchedulerStats {
  return {
    prefixQueriedTokens: 0,
    prefixHitTokens: 0,
    numPreemptions: 0,
    numSteps: 0,
    numStepsAhead: 0,
    numStepTokens: 0,
    numDrafts: 0,
    numDraftedTokens: 0,
    numAcceptedTokens: 0,
    numAcceptedAt: [],
  };
}

/** A decode was verified. */
export function countDrafts(stats: SchedulerStats, numDrafted: number, numAccepted: number): void {
  if (numDrafted === 0) return;
  stats.numDrafts++;
  stats.numDraftedTokens += numDrafted;
  stats.numAcceptedTokens += numAccepted;
  for (let i = 0; i < numAccepted; i++) stats.numAcceptedAt[i] = (stats.numAcceptedAt[i] ?? 0) + 1;
}
