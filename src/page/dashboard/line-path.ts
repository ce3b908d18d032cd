/** A line with gaps, as the path of an SVG. Pure. */

/** A lone value between gaps is a point: a line of no length with round ends. */
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
    path += isDrawing ? `L${point}` : `M${point}h0`;
    isDrawing = true;
  });
  return path;
}
