/**
 * Free text that ends with, or never has, one of some trigger texts: the machine of Aho and Corasick, whose states are
 * how much of which trigger the text ends with.
 */
import type { Trigger } from "./expression.ts";

interface State {
  children: Map<number, number>;
  /** The longest proper end of this text that is the beginning of a trigger, too. */
  fallback: number;
  isTrigger: boolean;
}

export interface FreeTextState {
  /** [first byte, last byte, state, …] over all 256; state −1 = a trigger is complete. */
  edges: number[];
}

const encoder = new TextEncoder();

/** The first one is the beginning. */
export function freeTextStates(triggers: readonly Trigger[]): FreeTextState[] {
  const states = triggerTrie(triggers);
  linkFallbacks(states);
  return states.map((_, id) => ({ edges: edgesOf(states, id) }));
}

function triggerTrie(triggers: readonly Trigger[]): State[] {
  const states: State[] = [{ children: new Map(), fallback: 0, isTrigger: false }];
  for (const trigger of triggers) {
    if (typeof trigger === "number") continue;
    if (trigger === "") throw new Error("An empty trigger would be everywhere.");
    let at = 0;
    for (const byte of encoder.encode(trigger)) {
      const known = states[at]!.children.get(byte);
      if (known === undefined) {
        states[at]!.children.set(byte, states.length);
        states.push({ children: new Map(), fallback: 0, isTrigger: false });
      }
      at = known ?? states.length - 1;
    }
    states[at]!.isTrigger = true;
  }
  return states;
}

function linkFallbacks(states: State[]): void {
  const queue = [0];
  for (const id of queue) {
    for (const [byte, child] of states[id]!.children) {
      const fallback = id === 0 ? 0 : target(states, states[id]!.fallback, byte);
      states[child]!.fallback = fallback;
      states[child]!.isTrigger ||= states[fallback]!.isTrigger;
      queue.push(child);
    }
  }
}

function target(states: readonly State[], id: number, byte: number): number {
  for (let at = id; ; at = states[at]!.fallback) {
    const child = states[at]!.children.get(byte);
    if (child !== undefined) return child;
    if (at === 0) return 0;
  }
}

function edgesOf(states: readonly State[], id: number): number[] {
  const edges: number[] = [];
  for (let byte = 0; byte < 256; byte++) {
    const to = target(states, id, byte);
    const state = states[to]!.isTrigger ? -1 : to;
    if (edges.length > 0 && edges[edges.length - 1] === state) edges[edges.length - 2] = byte;
    else edges.push(byte, byte, state);
  }
  return edges;
}
