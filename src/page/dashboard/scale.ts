/** Ticks of an axis that people would choose. Pure. */

const STEPS = [1, 2, 5, 10];

/** From 0 to the first tick at or above the largest value: about three of them, at 1, 2 or 5 times a power of ten. */
export function ticksFor(valueMax: number): number[] {
  const NUM_STEPS = 3;
  if (!(valueMax > 0)) return [0, 1];
  const rough = valueMax / NUM_STEPS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = STEPS.map((each) => each * power).find((each) => each >= rough * 0.999)!;
  const num = Math.ceil(valueMax / step - 1e-9);
  return Array.from({ length: num + 1 }, (_, i) => rounded(i * step));
}

/** Short, and with as many digits as tell something. */
export function formatValue(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 10_000) return `${rounded(value / 1000, 3)}k`;
  return String(size >= 100 ? Math.round(value) : rounded(value, 3));
}

function rounded(value: number, numDigits = 12): number {
  return Number(value.toPrecision(numDigits));
}
