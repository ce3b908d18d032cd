/** What became of one request, in milliseconds; the run's clock says when it was sent. */
export interface RequestOutcome {
  /** When it was sent, since the run began. */
  startMs: number;
  /** From its turn in the arrival process until it was sent: it waited for `--max-concurrency`. In no other number. */
  queueMs: number;
  /** From sending to the first token's chunk. */
  ttftMs: number;
  /** From sending to the last token's chunk. */
  latencyMs: number;
  /** Gaps between chunks. */
  itlMs: number[];
  promptTokens: number;
  /** Of these, found in the server's prefix cache; null where it does not say. */
  cachedTokens: number | null;
  outputTokens: number;
  /** Why it failed; null = completed. What failed is in no statistic but the number of failures. */
  error: string | null;
}

/** @param error what went wrong, in words */
export function failedOutcome(startMs: number, queueMs: number, error: string): RequestOutcome {
  const nothing = { ttftMs: 0, latencyMs: 0, itlMs: [], promptTokens: 0, cachedTokens: null, outputTokens: 0 };
  return { startMs, queueMs, ...nothing, error };
}
