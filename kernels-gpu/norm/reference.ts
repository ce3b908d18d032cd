/** Norms in float64. */

export function referenceRmsNorm(x: ArrayLike<number>, weight: ArrayLike<number>, epsilon: number): Float64Array {
  const values = Float64Array.from(x);
  const scale = 1 / Math.sqrt(mean(values.map((v) => v * v)) + epsilon);
  return values.map((v, i) => v * scale * weight[i]!);
}

export function referenceLayerNorm(
  x: ArrayLike<number>,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
  epsilon: number,
): Float64Array {
  const values = Float64Array.from(x);
  const center = mean(values);
  const scale = 1 / Math.sqrt(mean(values.map((v) => (v - center) ** 2)) + epsilon);
  return values.map((v, i) => (v - center) * scale * weight[i]! + bias[i]!);
}

const mean = (values: Float64Array) => values.reduce((sum, value) => sum + value, 0) / values.length;
