/** Attention of one token in float64 over dense keys and values, and RoPE: what the paged kernels are compared with. */

/**
 * @param q [headDim], unscaled @param keys of the positions 0 … position, each [headDim] @param values likewise
 * @param window keys that are seen, 0 = all @returns [headDim]
 */
export function referenceAttention(
  q: ArrayLike<number>,
  keys: readonly ArrayLike<number>[],
  values: readonly ArrayLike<number>[],
  scale: number,
  window: number,
): Float64Array {
  const first = window === 0 ? 0 : Math.max(0, keys.length - window);
  const scores = keys.slice(first).map((key) => {
    let dot = 0;
    for (let i = 0; i < q.length; i++) dot += q[i]! * key[i]!;
    return dot * scale;
  });
  const top = Math.max(...scores);
  const weights = scores.map((score) => Math.exp(score - top));
  const total = weights.reduce((a, b) => a + b, 0);
  const out = new Float64Array(q.length);
  weights.forEach((weight, j) => {
    const value = values[first + j]!;
    for (let i = 0; i < out.length; i++) out[i]! += (weight / total) * value[i]!;
  });
  return out;
}

/** Rotates a head by its position. @param rope the same as `ropeTable`'s */
export function referenceRope(
  head: ArrayLike<number>,
  position: number,
  rope: {
    base: number;
    numDims: number;
    linearScale: number;
    magnitude: number;
    pairing: "interleaved" | "half-split";
  },
): Float64Array {
  const out = Float64Array.from(head);
  const half = rope.numDims / 2;
  for (let i = 0; i < half; i++) {
    const angle = (position / rope.linearScale) * rope.base ** ((-2 * i) / rope.numDims);
    const [a, b] = rope.pairing === "interleaved" ? [2 * i, 2 * i + 1] : [i, i + half];
    const [cos, sin] = [rope.magnitude * Math.cos(angle), rope.magnitude * Math.sin(angle)];
    out[a] = head[a]! * cos - head[b]! * sin;
    out[b] = head[a]! * sin + head[b]! * cos;
  }
  return out;
}
