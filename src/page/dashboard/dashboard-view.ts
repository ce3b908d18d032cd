/** Charts with the latest values above them, and all of it as a table for who cannot see lines. */
import { byId, el } from "../views/dom.ts";
import { type Chart, type Row, rowsOf, type Series } from "./history.ts";
import { lineChart } from "./line-chart.ts";
import { formatValue } from "./scale.ts";

/** Of the table: a minute. */
const STEPS_PER_ROW = 6;

export class DashboardView {
  readonly #charts = byId("charts", HTMLDivElement);
  readonly #table = byId("table", HTMLTableElement);

  render(series: Series): void {
    const { timesMs, charts } = series;
    this.#charts.replaceChildren(...charts.map((chart) => card(chart, timesMs)));
    this.#table.replaceChildren(...tableParts(charts, rowsOf(series, STEPS_PER_ROW)));
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

function tableParts(charts: Chart[], rows: Row[]): HTMLElement[] {
  const titles = charts.flatMap(({ title, unit, lines }) =>
    lines.map(({ name }) => `${title}, ${name}${unit === "" ? "" : ` (${unit})`}`),
  );
  const head = el("tr", {}, ...["Until", ...titles].map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map(({ atMs, values }) => {
    const cells = values.map((value) => el("td", {}, textOf(value)));
    return el("tr", {}, el("th", { scope: "row" }, new Date(atMs).toLocaleTimeString()), ...cells);
  });
  return [
    el("caption", {}, "The last 15 minutes, a row a minute, newest first: rates as means, all else at its highest"),
    el("thead", {}, head),
    el("tbody", {}, ...body.reverse()),
  ];
}

function textOf(value: number | null): string {
  return value === null ? "–" : formatValue(value);
}
