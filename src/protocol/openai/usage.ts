/**
 * OpenAI's `usage` object. `cached_tokens` is always there, 0 when nothing was reused. The predictions are the engine's
 * own here, not the client's: rejected ones are no part of `completion_tokens`.
 */
import type { Usage } from "../generate.ts";

export function usageBody(usage: Usage) {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
    ...detailsBody(usage),
  };
}

function detailsBody({ drafts, reasoningTokens }: Usage): object {
  if (drafts === undefined && reasoningTokens === undefined) return {};
  const predictions = drafts && {
    accepted_prediction_tokens: drafts.accepted,
    rejected_prediction_tokens: drafts.rejected,
  };
  const reasoning = reasoningTokens === undefined ? {} : { reasoning_tokens: reasoningTokens };
  return { completion_tokens_details: { ...reasoning, ...predictions } };
}
