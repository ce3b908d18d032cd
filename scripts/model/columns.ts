/** Rows as columns of text, each as wide as its longest cell. @param rows at least one */
export function columns(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((cells) => cells[column]!.length)));
  const line = (cells: readonly string[]) => cells.map((cell, i) => cell.padEnd(widths[i]!)).join("  ");
  return rows.map((cells) => line(cells).trimEnd()).join("\n");
}
