/** One chart as SVG: lines over the last quarter of an hour, gaps where nothing was measured. */
import type { Chart } from "./history.ts";
import { lonePoints, pathOf } from "./line-path.ts";
import { formatValue, ticksFor } from "./scale.ts";

const WIDTH = 480;
const HEIGHT = 168;
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 8, 8, 22];
/** Minutes between marks on the time axis. */
const MARK_MIN = 5;

export function lineChart({ title, unit, lines }: Chart, timesMs: readonly number[]): SVGSVGElement {
  const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "plot", role: "img" });
  svg.setAttribute(
    "aria-label",
    `${title}${unit === "" ? "" : ` in ${unit}`}, last 15 minutes. The table has the values.`,
  );
  const values = lines.flatMap((line) => line.values).filter((value) => value !== null);
  const ticks = ticksFor(Math.max(0, ...values));
  const top = ticks.at(-1)!;
  const x = (i: number) => LEFT + (i / Math.max(1, timesMs.length - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value: number) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM);
  for (const tick of ticks) {
    svg.append(node("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) }));
    svg.append(label(LEFT - 6, y(tick) + 4, "end", formatValue(tick)));
  }
  svg.append(...timeMarks(timesMs, x));
  lines.forEach((line, index) => {
    svg.append(node("path", { class: `line line-${index}`, d: pathOf(line.values, x, y) }));
    for (const { i, value } of lonePoints(line.values)) {
      svg.append(node("circle", { class: `point line-${index}`, cx: x(i), cy: y(value), r: 3 }));
    }
  });
  return svg as SVGSVGElement;
}

function timeMarks(timesMs: readonly number[], x: (i: number) => number): SVGElement[] {
  const lastMs = timesMs.at(-1) ?? 0;
  return timesMs.flatMap((atMs, i) => {
    const minutes = (lastMs - atMs) / 60_000;
    if (minutes % MARK_MIN !== 0) return [];
    const text = minutes === 0 ? "now" : `−${minutes} min`;
    return [label(x(i), HEIGHT - 6, minutes === 0 ? "end" : "middle", text)];
  });
}

function label(x: number, y: number, anchor: string, text: string): SVGElement {
  const element = node("text", { x, y, "text-anchor": anchor });
  element.textContent = text;
  return element;
}

function node(name: string, attributes: Record<string, string | number>): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}
