/** Rows of text as a table: aligned for a terminal, or GitHub Markdown. The first column is left, numbers are right. */
import type { Summary } from "./statistics.ts";

/** A measure as cells of a table: its median and its quartiles. */
export function summaryCells({ median, q1, q3 }: Summary): string[] {
  return [String(median), `[${q1} … ${q3}]`];
}

export function summaryRow(label: string, summary: Summary, unit: string): string[] {
  return [label, ...summaryCells(summary), unit];
}

export function textTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => (row[i] ?? "").length)));
  const line = (cells: readonly string[]) =>
    widths.map((width, i) => (i === 0 ? (cells[i] ?? "").padEnd(width) : (cells[i] ?? "").padStart(width))).join("  ");
  return [line(head), widths.map((width) => "─".repeat(width)).join("  "), ...rows.map(line)].join("\n");
}

export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, i) => (i === 0 ? "---" : "--:"))), ...rows.map(line)].join("\n");
}
