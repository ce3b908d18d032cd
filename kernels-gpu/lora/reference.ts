/** scale · B · (A · x) in float64: what `shrink.ts` and `expand.ts` together are compared with. */

/** @param a [rank][k] @param b [n][rank] @param x [k] @returns [n] */
export function referenceLora(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  scale: number,
  x: ArrayLike<number>,
): Float64Array {
  const h = referenceShrink(a, x);
  return Float64Array.from({ length: b.length / h.length }, (_, row) => {
    let sum = 0;
    for (let r = 0; r < h.length; r++) sum += b[row * h.length + r]! * h[r]!;
    return scale * sum;
  });
}

/** @returns A · x, [rank] */
export function referenceShrink(a: ArrayLike<number>, x: ArrayLike<number>): Float64Array {
  const k = x.length;
  return Float64Array.from({ length: a.length / k }, (_, r) => {
    let sum = 0;
    for (let i = 0; i < k; i++) sum += a[r * k + i]! * x[i]!;
    return sum;
  });
}
