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
  /** Tokens that were guessed and verified, and those of them that were right. */
  numDraftedTokens: number;
  numAcceptedTokens: number;
}

export function newSchedulerStats(): SchedulerStats {
  return {
    prefixQueriedTokens: 0,
    prefixHitTokens: 0,
    numPreemptions: 0,
    numSteps: 0,
    numStepsAhead: 0,
    numStepTokens: 0,
    numDraftedTokens: 0,
    numAcceptedTokens: 0,
  };
}
