/** The server's last quarter of an hour as lines to draw. Pure. */

interface WireHeld {
  running: number;
  waiting: number;
  kvUsage: number;
}

/** One point of `GET /metrics/history`: what was counted in one step, and what the engines held. */
export interface WirePoint {
  atMs: number;
  generationTokens: number;
  promptTokens: number;
  requests: number;
  errors: number;
  firstTokens: number[];
  most: WireHeld;
  last: WireHeld;
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
  /** How values of several steps become one: a rate is their mean, all else is the highest of them. */
  isRate: boolean;
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
        isRate: false,
        unit: "s",
        lines: [
          { name: "p50", values: firstToken(0.5) },
          { name: "p95", values: firstToken(0.95) },
        ],
      },
      {
        title: "Tokens",
        isRate: true,
        unit: "tokens/s",
        lines: [
          { name: "generated", values: counted((point) => perSecond(point.generationTokens)) },
          { name: "prompts", values: counted((point) => perSecond(point.promptTokens)) },
        ],
      },
      {
        title: "Sequences",
        isRate: false,
        unit: "",
        lines: [
          { name: "running", values: held(byTime, timesMs, ({ running }) => running) },
          { name: "waiting", values: held(byTime, timesMs, ({ waiting }) => waiting) },
        ],
      },
      {
        title: "KV cache in use",
        isRate: false,
        unit: "%",
        lines: [{ name: "used", values: held(byTime, timesMs, ({ kvUsage }) => kvUsage * 100) }],
      },
      {
        title: "Requests",
        isRate: true,
        unit: "a minute",
        lines: [
          { name: "all", values: counted((point) => 60 * perSecond(point.requests)) },
          { name: "errors", values: counted((point) => 60 * perSecond(point.errors)) },
        ],
      },
    ],
  };
}

/** The most of a step, and where nothing was said what was said last: nobody says it again while nothing changes. */
function held(byTime: Map<number, WirePoint>, timesMs: number[], read: (held: WireHeld) => number): number[] {
  let last = 0;
  return timesMs.map((atMs) => {
    const point = byTime.get(atMs);
    if (point === undefined) return last;
    last = read(point.last);
    return read(point.most);
  });
}

export interface Row {
  /** Its end. */
  atMs: number;
  /** Of each line of each chart. */
  values: (number | null)[];
}

/** Steps put together, oldest first. */
export function rowsOf({ timesMs, charts }: Series, stepsPerRow: number): Row[] {
  const rows: Row[] = [];
  for (let end = timesMs.length; end > 0; end -= stepsPerRow) {
    const steps = (line: Line) => line.values.slice(Math.max(0, end - stepsPerRow), end);
    const values = charts.flatMap((chart) => chart.lines.map((line) => together(steps(line), chart.isRate)));
    rows.unshift({ atMs: timesMs[end - 1]!, values });
  }
  return rows;
}

function together(values: (number | null)[], isRate: boolean): number | null {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return null;
  return isRate ? known.reduce((sum, value) => sum + value, 0) / known.length : Math.max(...known);
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
