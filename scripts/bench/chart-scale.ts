/** Axis of a bar chart: round steps from 0 to just above the largest value. */

export interface Scale {
  /** Of the axis. */
  end: number;
  /** From 0 to `end`. */
  ticks: number[];
}

const NUM_STEPS_MAX = 6;

/** @param largest of the values, above 0 */
export function axisScale(largest: number): Scale {
  const least = largest / NUM_STEPS_MAX;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= least * (1 - 1e-9))!;
  const numSteps = Math.ceil((largest / step) * (1 - 1e-9));
  const ticks = Array.from({ length: numSteps + 1 }, (_, i) => Number((i * step).toPrecision(12)));
  return { end: ticks.at(-1)!, ticks };
}
