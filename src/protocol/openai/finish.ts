/**
 * OpenAI's `finish_reason`, and vLLM's `stop_reason` beside it: the stop string or token id that matched. OpenAI has no
 * word for an answer that was stopped from outside; "abort" is vLLM's. Only readers of a session ever see it: a
 * stateless answer is aborted by its reader's going away.
 */
import type { FinishReason } from "../generate.ts";

export interface Finish {
  finish_reason: FinishReason;
  stop_reason: string | number | null;
}

export function finishBody(reason: FinishReason, stop: string | number | null): Finish {
  return { finish_reason: reason, stop_reason: stop };
}
