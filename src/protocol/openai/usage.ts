/** OpenAI's `usage` object. `cached_tokens` is always there, 0 when nothing was reused. */
import type { Usage } from "../generate.ts";

export function usageBody(usage: Usage) {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.promptTokens + usage.completionTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  };
}
