/**
 * Metrics as text, in Prometheus's exposition format 0.0.4: HELP and TYPE before the samples of a metric, backslash, line
 * break and (in label values) quote escaped, buckets cumulative with `le`, and `_sum` and `_count` behind them. Pure.
 *
 * Not prom-client's: it has counters of one process that cannot be added up from several, and wants Node's own modules.
 */
import { type GaugeName, METRICS, type MetricDefinition, type MetricName } from "./catalog.ts";
import { type HistogramData, labelsOf, type MetricsData } from "./metrics-data.ts";

export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export interface GaugeSample {
  labels: readonly string[];
  value: number;
}

export type GaugeSamples = Partial<Record<GaugeName, GaugeSample[]>>;

export function exposition(data: MetricsData, gauges: GaugeSamples): string {
  const names = Object.keys(METRICS) as MetricName[];
  return `${names.map((name) => metricText(name, METRICS[name], data, gauges)).join("\n")}\n`;
}

function metricText(name: MetricName, metric: MetricDefinition, data: MetricsData, gauges: GaugeSamples): string {
  const lines = [`# HELP ${name} ${escapeHelp(metric.help)}`, `# TYPE ${name} ${metric.type}`];
  if (metric.type === "gauge") {
    for (const { labels, value } of gauges[name as GaugeName] ?? []) lines.push(sample(name, metric, labels, value));
  } else if (metric.type === "counter") {
    const series = (data.counters as Record<string, Record<string, number>>)[name] ?? {};
    for (const [key, value] of Object.entries(series)) lines.push(sample(name, metric, labelsOf(key), value));
  } else {
    const series = (data.histograms as Record<string, Record<string, HistogramData>>)[name] ?? {};
    for (const [key, histogram] of Object.entries(series)) {
      lines.push(...histogramLines(name, metric, labelsOf(key), histogram));
    }
  }
  return lines.join("\n");
}

function histogramLines(
  name: string,
  { labels: names, bounds }: MetricDefinition & { type: "histogram" },
  values: readonly string[],
  { counts, sum }: HistogramData,
): string[] {
  let cumulative = 0;
  const buckets = counts.map((numIn, i) => {
    cumulative += numIn;
    const le = i < bounds.length ? String(bounds[i]) : "+Inf";
    return `${name}_bucket${labelText([...names, "le"], [...values, le])} ${cumulative}`;
  });
  const labels = labelText(names, values);
  return [...buckets, `${name}_sum${labels} ${numberText(sum)}`, `${name}_count${labels} ${cumulative}`];
}

function sample(name: string, { labels }: MetricDefinition, values: readonly string[], value: number): string {
  return `${name}${labelText(labels, values)} ${numberText(value)}`;
}

function labelText(names: readonly string[], values: readonly string[]): string {
  if (names.length === 0) return "";
  return `{${names.map((name, i) => `${name}="${escapeLabel(values[i] ?? "")}"`).join(",")}}`;
}

function escapeLabel(value: string): string {
  return value.replace(/[\\"\n]/g, (char) => (char === "\n" ? "\\n" : `\\${char}`));
}

function escapeHelp(text: string): string {
  return text.replace(/[\\\n]/g, (char) => (char === "\n" ? "\\n" : "\\\\"));
}

function numberText(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? "+Inf" : "-Inf";
}
