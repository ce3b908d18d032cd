/**
 * How many drafts a decode carries. A step of 1 + k rows costs more than a step of one, so drafts pay only as far as
 * they are right, and how often that is depends on the text: near 1 where it quotes, near 0 where it is new.
 *
 *  - The acceptance is estimated from every proposal, also from those that are not verified: whether a proposed token
 *    would have been right is seen for free when the next token is sampled. So text without repetition costs nothing
 *    while it is watched, and a quotation is noticed after a token or two.
 *  - k maximises tokens per cost. Drafts that are right with probability a, each, give 1 + a + a² + … + a^k tokens
 *    (Leviathan et al. 2022, arXiv:2211.17192, equation 1) at the cost of 1 + k · rowCost.
 *  - The estimate can be fooled, so losses are bounded by an account: what drafts cost is paid from it, what they save
 *    is paid in, and every token adds `LOSS_SHARE_MAX`. Text that refuses every draft is so decoded at most 2 % slower,
 *    and one step: this is the back-off, and it holds for every text, not on average.
 *
 * Costs are given, not timed: a Worker's clock stands still while it computes. Pure functions over plain state; the unit
 * is a step of one sequence with one row.
 */

/** Most drafts of a sequence in a step. With nine rows the cost of a row outweighs what the ninth still adds. */
export const NUM_DRAFTS_MAX = 8;

/** Share of the time without drafts that may be lost to drafts that are refused. */
export const LOSS_SHARE_MAX = 0.02;
/** What a sequence may lose before it has generated anything. */
export const CREDIT_INITIAL_STEPS = 1;
/** Past gains pay for no more than this: two full drafts of the dearest kind, whatever was saved before. */
const CREDIT_MAX_STEPS = 8;

/**
 * Of the newest token in the estimate. 1/4, 1/8 and 1/16 were within 3 % of each other when prose, code and edits of code
 * were replayed at row costs of 0.15 to 0.4; 1/8 was never the worst. Longer n-grams are right more often, but an estimate
 * for each length gained less than 1 %.
 */
const ESTIMATE_WEIGHT = 1 / 8;

export interface DraftState {
  /** Estimated probability that a proposed token is right. */
  readonly acceptance: number;
  /** The account, in steps. Never below 0. */
  readonly creditSteps: number;
}

/** It has seen nothing, so it drafts nothing until a proposal was right. */
export const INITIAL_DRAFT_STATE: DraftState = { acceptance: 0, creditSteps: CREDIT_INITIAL_STEPS };

export interface DraftCosts {
  /** Of each further row, as a share of a step with one row. */
  rowCost: number;
  /** Sequences that decode in this step. */
  numSequences: number;
}

/** What a step of `numSequences` rows costs each of them: what a right draft saves. Sharing makes it less. */
export function tokenCost({ rowCost, numSequences }: DraftCosts): number {
  return (1 + rowCost * (numSequences - 1)) / numSequences;
}

/** @param numDraftsMax what there is room for */
export function chooseNumDrafts(state: DraftState, costs: DraftCosts, numDraftsMax: number): number {
  const plainCost = tokenCost(costs);
  let best = 0;
  let bestTokensPerCost = 1 / plainCost;
  let numTokens = 1;
  let allRight = 1;
  for (let k = 1; k <= numDraftsMax && k * costs.rowCost <= state.creditSteps; k++) {
    allRight *= state.acceptance;
    numTokens += allRight;
    const tokensPerCost = numTokens / (plainCost + k * costs.rowCost);
    if (tokensPerCost > bestTokensPerCost) {
      best = k;
      bestTokensPerCost = tokensPerCost;
    }
  }
  return best;
}

/** What a step showed. */
export interface DraftOutcome {
  /** Drafts that were verified. */
  numDrafted: number;
  /** Of them, those that were generated: the step gave one token more. */
  numAccepted: number;
  /** Proposed tokens, drafted or not, that were the sampled ones, up to the first that was not. */
  numRight: number;
  /** Did one follow that was not? */
  hasWrong: boolean;
}

export function afterStep(state: DraftState, costs: DraftCosts, outcome: DraftOutcome): DraftState {
  const { numDrafted, numAccepted, numRight, hasWrong } = outcome;
  const seenRight = 1 - (1 - state.acceptance) * (1 - ESTIMATE_WEIGHT) ** numRight;
  const saved = numAccepted * tokenCost(costs) - numDrafted * costs.rowCost;
  const earned = LOSS_SHARE_MAX * (1 + numAccepted) * tokenCost(costs);
  return {
    acceptance: hasWrong ? seenRight * (1 - ESTIMATE_WEIGHT) : seenRight,
    creditSteps: Math.min(CREDIT_MAX_STEPS, state.creditSteps + saved + earned),
  };
}
