/** Samples in, three numbers out. Medians and quartiles, because one disturbed sample must not move a result. */

export interface Summary {
  median: number;
  /** Lower and upper quartile. */
  q1: number;
  q3: number;
  /** As measured, in order. */
  samples: number[];
}

/** @throws RangeError where there is no sample */
export function summarize(samples: readonly number[]): Summary {
  const sorted = [...samples].sort((a, b) => a - b);
  return {
    median: round(quantile(sorted, 0.5)),
    q1: round(quantile(sorted, 0.25)),
    q3: round(quantile(sorted, 0.75)),
    samples: samples.map(round),
  };
}

/**
 * Linear interpolation between the two nearest samples (Hyndman and Fan 1996, definition 7).
 * @param sorted ascending
 */
export function quantile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) throw new RangeError("There is no sample to take a quantile of.");
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)]!;
  const above = sorted[Math.ceil(at)]!;
  return below + (above - below) * (at - Math.floor(at));
}

/** Ratio of each sample to the one of the same round: what drifts on the machine drifts in both. */
export function pairedRatios(numerators: readonly number[], denominators: readonly number[]): number[] {
  const numPairs = Math.min(numerators.length, denominators.length);
  return Array.from({ length: numPairs }, (_, i) => numerators[i]! / denominators[i]!);
}

/** Four significant digits: no measurement here is better than that, and files stay readable. */
export function round(value: number): number {
  return Number(value.toPrecision(4));
}
