/** What a wire format's decoder hands to the routes: the request itself, and how its answer is to be written. */
import type { GenerateRequest } from "./generate.ts";

export interface AnswerStyle {
  /** Server-sent events instead of one object. */
  stream: boolean;
  /** A last chunk with the usage (OpenAI's `stream_options.include_usage`). */
  includeUsage: boolean;
}

export interface WireRequest {
  generate: GenerateRequest;
  style: AnswerStyle;
  /** Client's own name for requests that share a prefix (OpenAI's `prompt_cache_key`). */
  promptCacheKey: string | null;
}
