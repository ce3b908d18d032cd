/** What every quantizer needs to choose its scales. */

export const clamp = (value: number, min: number, max: number) => Math.min(Math.max(value, min), max);

/** The element of largest magnitude, with its sign. */
export function extreme(values: ArrayLike<number>): number {
  let out = 0;
  for (let i = 0; i < values.length; i++) if (Math.abs(values[i]!) > Math.abs(out)) out = values[i]!;
  return out;
}
