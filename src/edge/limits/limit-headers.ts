/** What is left of a key's limits, in OpenAI's headers. Times are Go durations there ("1s", "6m0s", "120ms"). */
import type { LimitKind, LimitState } from "./key-limits.ts";

export function limitHeaders(states: Record<LimitKind, LimitState | null>): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [kind, state] of Object.entries(states)) {
    if (state === null) continue;
    headers[`x-ratelimit-limit-${kind}`] = String(state.limit);
    headers[`x-ratelimit-remaining-${kind}`] = String(state.remaining);
    headers[`x-ratelimit-reset-${kind}`] = goDuration(state.resetMs);
  }
  return headers;
}

/** As Go's `time.Duration` writes whole milliseconds. */
export function goDuration(ms: number): string {
  if (ms === 0) return "0s";
  if (ms < 1000) return `${ms}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor(ms / 60_000) % 60;
  const seconds = `${(ms % 60_000) / 1000}s`;
  if (hours > 0) return `${hours}h${minutes}m${seconds}`;
  return minutes > 0 ? `${minutes}m${seconds}` : seconds;
}
