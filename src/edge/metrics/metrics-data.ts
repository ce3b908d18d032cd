/**
 * What was counted, as plain data: it crosses the RPC border, lies in storage, and adds up. A series is named by the values
 * of its labels, in the catalog's order, as a JSON array. Pure.
 */
import { type CounterName, type HistogramName, METRICS } from "./catalog.ts";

export interface HistogramData {
  /** Of each bound's own bucket, the one above all bounds last; not cumulative. */
  counts: number[];
  sum: number;
}

export interface MetricsData {
  counters: Partial<Record<CounterName, Record<string, number>>>;
  histograms: Partial<Record<HistogramName, Record<string, HistogramData>>>;
}

/**
 * Series of one metric. Labels are models, routes, statuses and codes, all of them from lists of ours, so this is only
 * reached by a mistake: then what is new is counted under no name of its own.
 */
const SERIES_MAX = 1000;
const OVERFLOW = "other";

export function emptyMetrics(): MetricsData {
  return { counters: {}, histograms: {} };
}

export function isEmpty({ counters, histograms }: MetricsData): boolean {
  return Object.keys(counters).length === 0 && Object.keys(histograms).length === 0;
}

export function count(data: MetricsData, name: CounterName, labels: readonly string[], amount = 1): void {
  data.counters[name] ??= {};
  const series = data.counters[name];
  const key = seriesKey(series, labels);
  series[key] = (series[key] ?? 0) + amount;
}

export function observe(data: MetricsData, name: HistogramName, labels: readonly string[], value: number): void {
  const { bounds } = METRICS[name];
  const histogram = histogramOf(data, name, labels);
  const index = bounds.findIndex((bound) => value <= bound);
  histogram.counts[index < 0 ? bounds.length : index]!++;
  histogram.sum += value;
}

/** Adds `more` to `data`. What a version with other bounds counted is begun anew, as after a restart. */
export function addMetrics(data: MetricsData, more: MetricsData): void {
  for (const [name, series] of Object.entries(more.counters)) {
    if (!(name in METRICS)) continue;
    for (const [key, value] of Object.entries(series)) count(data, name as CounterName, labelsOf(key), value);
  }
  for (const [name, series] of Object.entries(more.histograms)) {
    if (!(name in METRICS)) continue;
    for (const [key, { counts, sum }] of Object.entries(series)) {
      const histogram = histogramOf(data, name as HistogramName, labelsOf(key));
      if (counts.length !== histogram.counts.length) continue;
      for (let i = 0; i < counts.length; i++) histogram.counts[i]! += counts[i]!;
      histogram.sum += sum;
    }
  }
}

export function labelsOf(key: string): string[] {
  return JSON.parse(key) as string[];
}

function histogramOf(data: MetricsData, name: HistogramName, labels: readonly string[]): HistogramData {
  data.histograms[name] ??= {};
  const series = data.histograms[name];
  const key = seriesKey(series, labels);
  series[key] ??= { counts: new Array<number>(METRICS[name].bounds.length + 1).fill(0), sum: 0 };
  return series[key];
}

function seriesKey(series: Record<string, unknown>, labels: readonly string[]): string {
  const key = JSON.stringify(labels);
  if (key in series || Object.keys(series).length < SERIES_MAX) return key;
  return JSON.stringify(labels.map(() => OVERFLOW));
}
