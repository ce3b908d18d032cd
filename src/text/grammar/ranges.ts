/** Sets of code points as ascending, disjoint ranges, and how they are spelled in UTF-8. */
import type { Ranges } from "./expression.ts";

const CODE_POINT_MAX = 0x10ffff;

/** Every Unicode scalar value: no surrogates, which have no UTF-8. */
export const ANY_CHARACTER: Ranges = [0, 0xd7ff, 0xe000, CODE_POINT_MAX];

/** Sorted and merged, whatever order the pairs come in. */
export function union(pairs: Ranges): number[] {
  const sorted: [number, number][] = [];
  for (let i = 0; i < pairs.length; i += 2) sorted.push([pairs[i]!, pairs[i + 1]!]);
  sorted.sort((a, b) => a[0] - b[0]);
  const merged: number[] = [];
  for (const [low, high] of sorted) {
    const last = merged.length - 1;
    if (last > 0 && low <= merged[last]! + 1) merged[last] = Math.max(merged[last]!, high);
    else merged.push(low, high);
  }
  return merged;
}

export function intersection(a: Ranges, b: Ranges): number[] {
  const out: number[] = [];
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    const low = Math.max(a[i]!, b[j]!);
    const high = Math.min(a[i + 1]!, b[j + 1]!);
    if (low <= high) out.push(low, high);
    if (a[i + 1]! < b[j + 1]!) i += 2;
    else j += 2;
  }
  return out;
}

/** All characters but those of `ranges` (ascending and disjoint). */
export function complement(ranges: Ranges): number[] {
  const gaps: number[] = [];
  let next = 0;
  for (let i = 0; i < ranges.length; i += 2) {
    if (ranges[i]! > next) gaps.push(next, ranges[i]! - 1);
    next = ranges[i + 1]! + 1;
  }
  if (next <= CODE_POINT_MAX) gaps.push(next, CODE_POINT_MAX);
  return intersection(gaps, ANY_CHARACTER);
}

/** Last code point of each UTF-8 length. */
const LENGTH_ENDS = [0x7f, 0x7ff, 0xffff, CODE_POINT_MAX] as const;

/** Sequences of byte ranges, [first, last] for each byte, that spell exactly the scalar values of `ranges`. */
export function utf8Sequences(ranges: Ranges): number[][] {
  const scalar = intersection(ranges, ANY_CHARACTER);
  const out: number[][] = [];
  for (let i = 0; i < scalar.length; i += 2) {
    let low = scalar[i]!;
    for (const end of LENGTH_ENDS) {
      if (low > scalar[i + 1]!) break;
      if (low > end) continue;
      const high = Math.min(scalar[i + 1]!, end);
      splitByPrefix(low, high, out);
      low = high + 1;
    }
  }
  return out;
}

/** `low` and `high` have the same UTF-8 length. Cuts where a continuation byte would not run through its whole range. */
function splitByPrefix(low: number, high: number, out: number[][]): void {
  for (const bits of [6, 12, 18]) {
    const mask = (1 << bits) - 1;
    if (high <= 0x7f || low >> bits === high >> bits) continue;
    if ((low & mask) !== 0) {
      splitByPrefix(low, low | mask, out);
      splitByPrefix((low | mask) + 1, high, out);
      return;
    }
    if ((high & mask) !== mask) {
      splitByPrefix(low, (high & ~mask) - 1, out);
      splitByPrefix(high & ~mask, high, out);
      return;
    }
  }
  const first = encodeScalar(low);
  const last = encodeScalar(high);
  out.push(first.flatMap((byte, i) => [byte, last[i]!]));
}

function encodeScalar(code: number): number[] {
  if (code <= 0x7f) return [code];
  if (code <= 0x7ff) return [0xc0 | (code >> 6), 0x80 | (code & 0x3f)];
  const tail = [0x80 | ((code >> 6) & 0x3f), 0x80 | (code & 0x3f)];
  if (code <= 0xffff) return [0xe0 | (code >> 12), ...tail];
  return [0xf0 | (code >> 18), 0x80 | ((code >> 12) & 0x3f), ...tail];
}
