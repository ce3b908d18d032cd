/** The server's last quarter of an hour as lines to draw. Pure. */

/** One point of `GET /metrics/history`: what was counted in one step, and what the engines held at its end. */
export interface WirePoint {
  atMs: number;
  generationTokens: number;
  promptTokens: number;
  requests: number;
  errors: number;
  firstTokens: number[];
  running: number;
  waiting: number;
  kvUsage: number;
}

export interface WireHistory {
  now_ms: number;
  span_ms: number;
  step_ms: number;
  first_token_bounds_s: number[];
  points: WirePoint[];
}

/** One line of a chart; null where nothing happened that could be measured. */
export interface Line {
  name: string;
  values: (number | null)[];
}

export interface Chart {
  title: string;
  unit: string;
  lines: Line[];
}

export interface Series {
  /** Of each step, oldest first, Unix milliseconds. */
  timesMs: number[];
  charts: Chart[];
}

export function seriesOf(history: WireHistory): Series {
  const { now_ms: nowMs, span_ms: spanMs, step_ms: stepMs, first_token_bounds_s: bounds, points } = history;
  const lastMs = nowMs - (nowMs % stepMs);
  const num = Math.floor(spanMs / stepMs);
  const timesMs = Array.from({ length: num }, (_, i) => lastMs - (num - 1 - i) * stepMs);
  const byTime = new Map(points.map((point) => [point.atMs, point]));
  const measured = (read: (point: WirePoint) => number | null) =>
    timesMs.map((atMs) => {
      const point = byTime.get(atMs);
      return point === undefined ? null : read(point);
    });
  // Nothing was counted where there is no point.
  const counted = (read: (point: WirePoint) => number) => measured(read).map((value) => value ?? 0);
  const perSecond = (value: number) => (value * 1000) / stepMs;
  const firstToken = (share: number) => measured(({ firstTokens }) => quantile(share, bounds, firstTokens));
  return {
    timesMs,
    charts: [
      {
        title: "Time to first token",
        unit: "s",
        lines: [
          { name: "p50", values: firstToken(0.5) },
          { name: "p95", values: firstToken(0.95) },
        ],
      },
      {
        title: "Tokens",
        unit: "tokens/s",
        lines: [
          { name: "generated", values: counted((point) => perSecond(point.generationTokens)) },
          { name: "prompts", values: counted((point) => perSecond(point.promptTokens)) },
        ],
      },
      {
        title: "Sequences",
        unit: "",
        lines: [
          { name: "running", values: held(byTime, timesMs, ({ running }) => running) },
          { name: "waiting", values: held(byTime, timesMs, ({ waiting }) => waiting) },
        ],
      },
      {
        title: "KV cache in use",
        unit: "%",
        lines: [{ name: "used", values: held(byTime, timesMs, ({ kvUsage }) => kvUsage * 100) }],
      },
      {
        title: "Requests",
        unit: "a minute",
        lines: [
          { name: "all", values: counted((point) => 60 * perSecond(point.requests)) },
          { name: "errors", values: counted((point) => 60 * perSecond(point.errors)) },
        ],
      },
    ],
  };
}

/** As it was said last: nobody says it again while nothing changes. */
function held(byTime: Map<number, WirePoint>, timesMs: number[], read: (point: WirePoint) => number): number[] {
  let last = 0;
  return timesMs.map((atMs) => {
    const point = byTime.get(atMs);
    if (point !== undefined) last = read(point);
    return last;
  });
}

/**
 * Of a histogram, within its bucket in proportion, as Prometheus's `histogram_quantile` has it: above the last bound there
 * is only that bound.
 *
 * @returns null where it is empty
 */
export function quantile(share: number, bounds: readonly number[], counts: readonly number[]): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total === 0) return null;
  let below = 0;
  for (let i = 0; i < bounds.length; i++) {
    const count = counts[i] ?? 0;
    if (count > 0 && below + count >= share * total) {
      const from = i === 0 ? 0 : bounds[i - 1]!;
      return from + ((share * total - below) / count) * (bounds[i]! - from);
    }
    below += count;
  }
  return bounds.at(-1) ?? null;
}
