/**
 * A set of characters as the bytes that spell them: what may come first, what behind it. Equal tails are one object, so
 * a class of half of Unicode is a dozen nodes; trees are kept with the set they are of.
 */
import type { Ranges } from "./expression.ts";
import { utf8Sequences } from "./ranges.ts";

export interface Utf8Tree {
  /** `rest` null = the character is whole. */
  edges: readonly { first: number; last: number; rest: Utf8Tree | null }[];
}

const trees = new WeakMap<Ranges, Utf8Tree>();

/** @param ranges ascending, and not changed any more */
export function utf8Tree(ranges: Ranges): Utf8Tree {
  const known = trees.get(ranges);
  if (known !== undefined) return known;
  const made = treeOf(utf8Sequences(ranges), 0, new Map());
  trees.set(ranges, made);
  return made;
}

function treeOf(sequences: readonly number[][], depth: number, tails: Map<string, Utf8Tree>): Utf8Tree {
  const byFirst = new Map<number, number[][]>();
  for (const one of sequences) {
    const range = one[depth]! * 256 + one[depth + 1]!;
    const sharing = byFirst.get(range);
    if (sharing === undefined) byFirst.set(range, [one]);
    else sharing.push(one);
  }
  const edges = [...byFirst].map(([range, sharing]) => ({
    first: range >> 8,
    last: range & 255,
    rest: sharing[0]!.length === depth + 2 ? null : tailOf(sharing, depth + 2, tails),
  }));
  return { edges };
}

function tailOf(sequences: readonly number[][], depth: number, tails: Map<string, Utf8Tree>): Utf8Tree {
  const key = sequences.map((one) => one.slice(depth).join()).join(";");
  const known = tails.get(key);
  if (known !== undefined) return known;
  const made = treeOf(sequences, depth, tails);
  tails.set(key, made);
  return made;
}
