/**
 * Horizontal bars as a piece of HTML: one SVG, and the same numbers as a table for those who cannot or do not want to see
 * it. Colours come from the page (`.s0`, `.s1`, …), so that light and dark need no second picture.
 */
import { axisScale } from "./chart-scale.ts";

export interface Bar {
  /** Index into `Chart.series`. */
  series: number;
  value: number;
  /** Quartiles, drawn as a whisker. */
  q1?: number;
  q3?: number;
}

export interface Chart {
  title: string;
  unit: string;
  series: string[];
  groups: { label: string; bars: Bar[] }[];
  /** Ceilings and limits, drawn across. */
  lines?: { label: string; value: number }[];
}

const WIDTH = 760;
const LABEL_WIDTH = 190;
const VALUE_WIDTH = 70;
const BAR_HEIGHT = 14;
const BAR_GAP = 3;
const GROUP_GAP = 12;
const AXIS_HEIGHT = 34;
const LINE_LABEL_HEIGHT = 16;

/** @param id unique on the page */
export function barChart(chart: Chart, id: string): string {
  const lines = chart.lines ?? [];
  const values = chart.groups.flatMap(({ bars }) => bars.map(({ value, q3 = 0 }) => Math.max(value, q3)));
  const scale = axisScale(Math.max(...values, ...lines.map(({ value }) => value)));
  const x = (value: number) => LABEL_WIDTH + (value / scale.end) * (WIDTH - LABEL_WIDTH - VALUE_WIDTH);
  const top = lines.length * LINE_LABEL_HEIGHT + 4;
  const marks: string[] = [];
  let y = top;
  for (const { label, bars } of chart.groups) {
    const height = bars.length * (BAR_HEIGHT + BAR_GAP) - BAR_GAP;
    marks.push(text(LABEL_WIDTH - 8, y + height / 2, label, "label"));
    for (const bar of bars) {
      marks.push(barMark(bar, x, y));
      y += BAR_HEIGHT + BAR_GAP;
    }
    y += GROUP_GAP;
  }
  const bottom = y - GROUP_GAP + 6;
  const grid = scale.ticks.map(
    (tick) => `${rule(x(tick), top - 4, bottom, "grid")}${text(x(tick), bottom + 12, format(tick), "tick")}`,
  );
  const limits = lines.map(
    ({ label, value }, i) =>
      rule(x(value), top - 4, bottom, "limit") +
      text(x(value) - 4, 10 + i * LINE_LABEL_HEIGHT, `${label}: ${format(value)}`, "limit-label"),
  );
  const svg = `<svg viewBox="0 0 ${WIDTH} ${bottom + AXIS_HEIGHT - 10}" role="img" aria-labelledby="${id}-title" \
aria-describedby="${id}-numbers">
<title id="${id}-title">${escapeHtml(`${chart.title}, in ${chart.unit}`)}</title>
${[...grid, ...marks, ...limits].join("\n")}
</svg>`;
  return `<figure>
<figcaption>${escapeHtml(chart.title)} <small>${escapeHtml(chart.unit)}</small></figcaption>
${legend(chart.series)}
${svg}
${numbers(chart, id)}
</figure>`;
}

function barMark({ series, value, q1, q3 }: Bar, x: (value: number) => number, y: number): string {
  const width = Math.max(x(value) - LABEL_WIDTH, 1);
  const middle = y + BAR_HEIGHT / 2;
  const bar = `<rect class="s${series}" x="${LABEL_WIDTH}" y="${y}" width="${px(width)}" height="${BAR_HEIGHT}"/>`;
  const hasSpread = q1 !== undefined && q3 !== undefined && q1 !== q3;
  const whisker = hasSpread ? `<path class="whisker" d="M${px(x(q1))} ${middle}H${px(x(q3))}"/>` : "";
  const end = Math.max(x(value), x(q3 ?? 0));
  return `${bar}${whisker}${text(end + 5, middle, format(value), "value")}`;
}

function legend(series: readonly string[]): string {
  if (series.length < 2) return "";
  const items = series.map((name, i) => `<li><span class="key k${i}"></span>${escapeHtml(name)}</li>`);
  return `<ul class="legend">${items.join("")}</ul>`;
}

/** The text alternative. */
function numbers({ series, groups, lines = [], unit }: Chart, id: string): string {
  const head = ["", ...series].map((name) => `<th scope="col">${escapeHtml(name)}</th>`).join("");
  const cell = (bar: Bar | undefined) => {
    if (bar === undefined) return "<td></td>";
    const { value, q1, q3 } = bar;
    return `<td>${format(value)}${q1 === undefined || q3 === undefined ? "" : ` <small>${format(q1)}–${format(q3)}</small>`}</td>`;
  };
  const rows = groups.map(({ label, bars }) => {
    const cells = series.map((_, i) => cell(bars.find((bar) => bar.series === i)));
    return `<tr><th scope="row">${escapeHtml(label)}</th>${cells.join("")}</tr>`;
  });
  const limits = lines.map(({ label, value }) => `<p>${escapeHtml(label)}: ${format(value)} ${escapeHtml(unit)}</p>`);
  return `<details id="${id}-numbers"><summary>The numbers (${escapeHtml(unit)})</summary>
<table><thead><tr>${head}</tr></thead><tbody>
${rows.join("\n")}
</tbody></table>${limits.join("")}</details>`;
}

function rule(x: number, from: number, to: number, name: string): string {
  return `<path class="${name}" d="M${px(x)} ${px(from)}V${px(to)}"/>`;
}

function text(x: number, y: number, content: string, name: string): string {
  return `<text class="${name}" x="${px(x)}" y="${px(y)}">${escapeHtml(content)}</text>`;
}

const px = (value: number) => Number(value.toFixed(1));

/** Three digits are what a plot can show. */
export function format(value: number): string {
  return value >= 1000 ? Math.round(value).toLocaleString("en-US") : String(Number(value.toPrecision(3)));
}

export function escapeHtml(content: string): string {
  return content.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
