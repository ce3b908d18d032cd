/**
 * When requests are sent. As vLLM's benchmark does it: the gaps between requests are drawn from a gamma distribution with
 * the shape `burstiness` (1 = exponential, a Poisson process; below, bursts; above, more even; infinite, equal gaps), then
 * all times are scaled so that the last request is sent at exactly n ÷ rate. So two seeds offer the same load.
 */

export interface ArrivalProcess {
  /** Infinity = all at once. */
  ratePerS: number;
  burstiness: number;
}

/** @param uniform in [0, 1) @returns milliseconds since the run began, ascending */
export function arrivalTimesMs(
  numRequests: number,
  { ratePerS, burstiness }: ArrivalProcess,
  uniform: () => number,
): number[] {
  if (ratePerS === Number.POSITIVE_INFINITY) return Array.from({ length: numRequests }, () => 0);
  const times: number[] = [];
  let at = 0;
  for (let i = 0; i < numRequests; i++) {
    at += burstiness === Number.POSITIVE_INFINITY ? 1 : gammaVariate(burstiness, uniform);
    times.push(at);
  }
  const scale = (1000 * numRequests) / ratePerS / at;
  return times.map((time) => time * scale);
}

/** Of mean `shape` and scale 1: Marsaglia and Tsang, "A simple method for generating gamma variables" (2000). */
export function gammaVariate(shape: number, uniform: () => number): number {
  // Below 1 the method has no bound; a variate of shape + 1 and a power of a uniform one make up for it.
  if (shape < 1) return gammaVariate(shape + 1, uniform) * (1 - uniform()) ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = normalVariate(uniform);
    const v = (1 + c * x) ** 3;
    if (v <= 0) continue;
    if (Math.log(1 - uniform()) < 0.5 * x * x + d * (1 - v + Math.log(v))) return d * v;
  }
}

/** Standard normal, by Box and Muller. */
function normalVariate(uniform: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}
