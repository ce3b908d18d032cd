/** y = W·x (+ bias) in float64, then what the epilogue says: what every matrix kernel is compared with. */
import type { Epilogue } from "./matmul.ts";

export const silu = (x: number): number => x / (1 + Math.exp(-x));

export const geluTanh = (x: number): number =>
  (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));

/** @param w [n][k] @param x [k] @param y what the result is added to, for "add" @returns [n], or [n / 2] of pairs */
export function referenceMatmul(
  w: ArrayLike<number>,
  x: ArrayLike<number>,
  epilogue: Epilogue,
  bias: ArrayLike<number> | null,
  y: ArrayLike<number> | null,
): Float64Array {
  const k = x.length;
  const sums = Float64Array.from({ length: w.length / k }, (_, row) => {
    let sum = bias === null ? 0 : bias[row]!;
    for (let i = 0; i < k; i++) sum += w[row * k + i]! * x[i]!;
    return sum;
  });
  switch (epilogue) {
    case "store":
      return sums;
    case "add":
      return sums.map((sum, row) => sum + y![row]!);
    case "gelu-tanh-single":
      return sums.map(geluTanh);
    default: {
      const activate = epilogue === "silu" ? silu : geluTanh;
      return Float64Array.from({ length: sums.length / 2 }, (_, i) => activate(sums[2 * i]!) * sums[2 * i + 1]!);
    }
  }
}
