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
    ...(usage.drafts === undefined ? {} : { completion_tokens_details: predictionsBody(usage.drafts) }),
  };
}

function predictionsBody({ accepted, rejected }: NonNullable<Usage["drafts"]>) {
  return { accepted_prediction_tokens: accepted, rejected_prediction_tokens: rejected };
}
