/**
 * What Ollama's last line counts. Durations are whole nanoseconds; what it calls loading is the time before a request has
 * a place in the engine.
 */
import type { FinishReason, Timings, Usage } from "../generate.ts";

const NS_PER_MS = 1e6;

export function countersOf(usage: Usage, { queueMs, ttftMs, totalMs }: Timings) {
  return {
    total_duration: nanoseconds(totalMs),
    load_duration: nanoseconds(queueMs),
    prompt_eval_count: usage.promptTokens,
    prompt_eval_duration: nanoseconds(ttftMs - queueMs),
    eval_count: usage.completionTokens,
    eval_duration: nanoseconds(totalMs - ttftMs),
  };
}

/** Ollama has no word for an answer that was stopped from outside, and nobody reads one. */
export function doneReasonOf(reason: FinishReason): "stop" | "length" {
  return reason === "length" ? "length" : "stop";
}

export function nanoseconds(ms: number): number {
  return Math.round(Math.max(0, ms) * NS_PER_MS);
}
