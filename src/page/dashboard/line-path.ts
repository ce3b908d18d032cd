/** A line with gaps, as the path of an SVG. Pure. */

export function pathOf(
  values: readonly (number | null)[],
  x: (i: number) => number,
  y: (value: number) => number,
): string {
  let path = "";
  let isDrawing = false;
  values.forEach((value, i) => {
    if (value === null) {
      isDrawing = false;
      return;
    }
    const point = `${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    path += isDrawing ? `L${point}` : `M${point}`;
    isDrawing = true;
  });
  return path;
}

/** Values between gaps, which no line shows. */
export function lonePoints(values: readonly (number | null)[]): { i: number; value: number }[] {
  const isGap = (i: number) => (values[i] ?? null) === null;
  return values.flatMap((value, i) => (value !== null && isGap(i - 1) && isGap(i + 1) ? [{ i, value }] : []));
}
