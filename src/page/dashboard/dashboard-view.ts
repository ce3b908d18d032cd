/** Charts with the latest values above them, and all of it as a table for who cannot see lines. */
import { byId, el } from "../views/dom.ts";
import type { Chart, Series } from "./history.ts";
import { lineChart } from "./line-chart.ts";
import { formatValue } from "./scale.ts";

/** Rows of the table: one for each minute. */
const ROW_MS = 60_000;

export class DashboardView {
  readonly #charts = byId("charts", HTMLDivElement);
  readonly #table = byId("table", HTMLTableElement);

  render({ timesMs, charts }: Series): void {
    this.#charts.replaceChildren(...charts.map((chart) => card(chart, timesMs)));
    this.#table.replaceChildren(...tableParts(charts, timesMs));
  }
}

function card(chart: Chart, timesMs: number[]): HTMLElement {
  const legend = chart.lines.map(({ name, values }, index) => {
    const value = values.findLast((each) => each !== null) ?? null;
    const swatch = el("span", { class: `swatch line-${index}`, "aria-hidden": "true" });
    return el("li", {}, swatch, `${name} `, el("strong", {}, value === null ? "–" : formatValue(value)));
  });
  const unit = chart.unit === "" ? null : el("span", { class: "unit" }, chart.unit);
  const section = el(
    "section",
    { class: "card" },
    el("h2", {}, `${chart.title} `, unit),
    el("ul", { class: "legend" }, ...legend),
  );
  section.append(lineChart(chart, timesMs));
  return section;
}

function tableParts(charts: Chart[], timesMs: number[]): HTMLElement[] {
  const columns = charts.flatMap(({ title, unit, lines }) =>
    lines.map(({ name, values }) => ({ title: `${title}, ${name}${unit === "" ? "" : ` (${unit})`}`, values })),
  );
  const head = el(
    "tr",
    {},
    ...["Time", ...columns.map(({ title }) => title)].map((text) => el("th", { scope: "col" }, text)),
  );
  const rows = timesMs.flatMap((atMs, i) => {
    if (atMs % ROW_MS !== 0) return [];
    const cells = columns.map(({ values }) => el("td", {}, textOf(values[i] ?? null)));
    return [el("tr", {}, el("th", { scope: "row" }, new Date(atMs).toLocaleTimeString()), ...cells)];
  });
  return [
    el("caption", {}, "The last 15 minutes, a row for the first ten seconds of each minute, newest first"),
    el("thead", {}, head),
    el("tbody", {}, ...rows.reverse()),
  ];
}

function textOf(value: number | null): string {
  return value === null ? "–" : formatValue(value);
}
