/**
 * Texts that match two expressions at once, where both are regular: their machines side by side. For the content of
 * strings with several of pattern, format and length.
 */
import { INTERSECTION_STATES_MAX } from "../../protocol/limits.ts";
import { Automaton } from "./automaton.ts";
import type { Expression, MachineState } from "./expression.ts";
import { MemoryBudget } from "./memory-budget.ts";
import { buildProgram } from "./program-builder.ts";
import type { State } from "./state.ts";

const ALL_BYTES = new Uint8Array(256).fill(1);

/** @returns null where that takes too many states */
export function intersect(a: Expression, b: Expression): Expression | null {
  const left = automatonOf(a);
  const right = automatonOf(b);
  const numbers = new Map<State, Map<State, number>>();
  const pairs: [State, State][] = [];
  const numberOf = (one: State, other: State): number => {
    const row = numbers.get(one) ?? new Map<State, number>();
    numbers.set(one, row);
    const known = row.get(other);
    if (known !== undefined) return known;
    row.set(other, pairs.length);
    return pairs.push([one, other]) - 1;
  };
  numberOf(left.start, right.start);
  const states: MachineState[] = [];
  for (let i = 0; i < pairs.length; i++) {
    if (pairs.length > INTERSECTION_STATES_MAX || left.isPruned || right.isPruned) return null;
    const [one, other] = pairs[i]!;
    states.push({ edges: edgesOf(left, right, one, other, numberOf), isFinal: one.isComplete && other.isComplete });
  }
  return { kind: "machine", states };
}

function edgesOf(
  left: Automaton,
  right: Automaton,
  one: State,
  other: State,
  numberOf: (one: State, other: State) => number,
): number[] {
  const edges: number[] = [];
  for (let byte = 0; byte < 256; byte++) {
    if (edges.length > 0 && edges.at(-2) === byte - 1 && isAlike(left, byte) && isAlike(right, byte)) {
      edges[edges.length - 2] = byte;
      continue;
    }
    const next = left.step(one, left.classOf[byte]!);
    const beside = next === null ? null : right.step(other, right.classOf[byte]!);
    if (next === null || beside === null) continue;
    const to = numberOf(next, beside);
    const last = edges.length - 3;
    if (last >= 0 && edges[last + 1] === byte - 1 && edges[last + 2] === to) edges[last + 1] = byte;
    else edges.push(byte, byte, to);
  }
  return edges;
}

/** Never told apart from the byte before it. */
function isAlike({ classOf }: Automaton, byte: number): boolean {
  return classOf[byte] === classOf[byte - 1];
}

/** Nothing is forgotten: a state is recognized by identity, and there are few. */
function automatonOf(expression: Expression): Automaton {
  const memory = new MemoryBudget(Number.POSITIVE_INFINITY);
  return new Automaton(buildProgram(expression, "pattern", ALL_BYTES), memory);
}
