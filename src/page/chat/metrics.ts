/**
 * What an answer's speed looked like from the page: the reader's own clock, so network and queue are inside.
 * Decode speed leaves the first token out: its time is the prefill's, which the time to first token already shows.
 */

export interface TokenUsage {
  promptTokens: number;
  completionTokens: number;
  cachedTokens: number;
}

export interface AnswerTiming {
  /** When the message was posted (milliseconds of any monotonic clock). */
  sentAtMs: number;
  firstTokenAtMs: number | null;
  lastTokenAtMs: number | null;
  /** Text deltas so far: stands in for tokens until the server counts them. */
  numDeltas: number;
  usage: TokenUsage | null;
}

export interface AnswerMetrics {
  ttftMs: number;
  /** null while fewer than two tokens have come. */
  tokensPerS: number | null;
  numTokens: number;
  /** Counted by the server; null before it says. */
  cachedTokens: number | null;
  promptTokens: number | null;
}

export function startTiming(nowMs: number): AnswerTiming {
  return { sentAtMs: nowMs, firstTokenAtMs: null, lastTokenAtMs: null, numDeltas: 0, usage: null };
}

export function countDelta(timing: AnswerTiming, nowMs: number): AnswerTiming {
  return {
    ...timing,
    firstTokenAtMs: timing.firstTokenAtMs ?? nowMs,
    lastTokenAtMs: nowMs,
    numDeltas: timing.numDeltas + 1,
  };
}

/** null before the first token. */
export function metricsOf(timing: AnswerTiming): AnswerMetrics | null {
  const { firstTokenAtMs, lastTokenAtMs, usage } = timing;
  if (firstTokenAtMs === null || lastTokenAtMs === null) return null;
  const numTokens = usage?.completionTokens ?? timing.numDeltas;
  const decodeMs = lastTokenAtMs - firstTokenAtMs;
  return {
    ttftMs: firstTokenAtMs - timing.sentAtMs,
    tokensPerS: numTokens >= 2 && decodeMs > 0 ? ((numTokens - 1) * 1000) / decodeMs : null,
    numTokens,
    cachedTokens: usage?.cachedTokens ?? null,
    promptTokens: usage?.promptTokens ?? null,
  };
}

export interface MetricLabel {
  text: string;
  /** For the tooltip: what the number means. */
  meaning: string;
}

/** The line under an answer, piece by piece. */
export function labelMetrics(metrics: AnswerMetrics): MetricLabel[] {
  const labels: MetricLabel[] = [
    { text: `${formatDuration(metrics.ttftMs)} to first token`, meaning: "From sending to the first piece of text" },
  ];
  if (metrics.tokensPerS !== null) {
    labels.push({ text: `${formatRate(metrics.tokensPerS)} tokens/s`, meaning: "Speed after the first token" });
  }
  labels.push({ text: count(metrics.numTokens, "token"), meaning: "Tokens in this answer" });
  if (metrics.cachedTokens !== null && metrics.cachedTokens > 0) {
    const ofPrompt = metrics.promptTokens === null ? "" : ` of ${metrics.promptTokens}`;
    labels.push({
      text: `${metrics.cachedTokens} cached`,
      meaning: `Prompt tokens${ofPrompt} reused from the KV cache`,
    });
  }
  return labels;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

export function formatDuration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`;
}

/** Three digits are all the precision that there is. */
export function formatRate(perS: number): string {
  return perS < 99.95 ? perS.toFixed(1) : perS.toFixed(0);
}
