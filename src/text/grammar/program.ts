/**
 * A grammar as a graph: what may follow at each place. It is run by `automaton.ts` with a stack: a call goes into a
 * rule and comes back, a loop counts its repetitions on the stack, so `{1,1000000}` costs what `{1,2}` does.
 */

export type ProgramNode =
  /** The end of a rule, of a loop's body, or of the text: whatever the stack says. */
  | { kind: "end" }
  /** Consumes a byte: [first, last, target, …]. */
  | { kind: "bytes"; edges: readonly number[] }
  /** Consumes a whole token. */
  | { kind: "token"; id: number; next: number }
  | { kind: "split"; targets: readonly number[] }
  | { kind: "call"; start: number; next: number }
  /** `body` consumes something each time. */
  | { kind: "loop"; body: number; next: number; min: number; max: number };

/** The node that ends everything. */
export const END = 0;

export interface Program {
  nodes: readonly ProgramNode[];
  start: number;
  /** By node: calls that must still fit on the stack for it to reach its end; Infinity = it never can. */
  needs: Float64Array;
  /** The same where every byte has to be a token of its own: from there on no vocabulary gets stuck. */
  tokenNeeds: Float64Array;
}

/** @param isByteToken by byte: the vocabulary has it alone */
export function needsOf(nodes: readonly ProgramNode[], isByteToken: Uint8Array | null): Float64Array {
  const needs = new Float64Array(nodes.length).fill(Number.POSITIVE_INFINITY);
  // Nodes are made back to front, so one pass settles all but recursion.
  for (let isChanged = true; isChanged; ) {
    isChanged = false;
    for (let id = 0; id < nodes.length; id++) {
      const need = needOf(nodes[id]!, needs, isByteToken);
      if (need >= needs[id]!) continue;
      needs[id] = need;
      isChanged = true;
    }
  }
  return needs;
}

function needOf(node: ProgramNode, needs: Float64Array, isByteToken: Uint8Array | null): number {
  switch (node.kind) {
    case "end":
      return 0;
    case "token":
      return needs[node.next]!;
    case "split":
      return leastOf(node.targets, needs);
    case "call":
      // At its end a rule needs no place of its own to come back to.
      return node.next === END ? needs[node.start]! : Math.max(1 + needs[node.start]!, needs[node.next]!);
    case "loop":
      return node.min === 0 ? needs[node.next]! : Math.max(needs[node.body]!, needs[node.next]!);
    case "bytes": {
      let need = Number.POSITIVE_INFINITY;
      for (let i = 0; i < node.edges.length; i += 3) {
        if (isByteToken === null || hasByteToken(node.edges[i]!, node.edges[i + 1]!, isByteToken)) {
          need = Math.min(need, needs[node.edges[i + 2]!]!);
        }
      }
      return need;
    }
  }
}

function leastOf(targets: readonly number[], needs: Float64Array): number {
  let least = Number.POSITIVE_INFINITY;
  for (const target of targets) least = Math.min(least, needs[target]!);
  return least;
}

function hasByteToken(first: number, last: number, isByteToken: Uint8Array): boolean {
  for (let byte = first; byte <= last; byte++) if (isByteToken[byte] === 1) return true;
  return false;
}

/**
 * Rules that come back to themselves before anything is consumed would be called for ever.
 *
 * @param starts [start node, name] of every rule
 * @param isNullable by start node: the rule may be empty
 * @returns the name of such a rule, or null
 */
export function leftRecursiveRule(
  nodes: readonly ProgramNode[],
  starts: ReadonlyMap<number, string>,
  isNullable: (start: number) => boolean,
): string | null {
  const callees = new Map<number, number[]>();
  for (const start of starts.keys()) callees.set(start, firstCalls(nodes, start, isNullable));
  const done = new Set<number>();
  for (const start of starts.keys()) {
    const found = cycleFrom(start, callees, done);
    if (found !== null) return starts.get(found) ?? "";
  }
  return null;
}

/** Depth-first, without the host's stack: a chain of rules may be long. */
function cycleFrom(start: number, callees: ReadonlyMap<number, number[]>, done: Set<number>): number | null {
  const path: { rule: number; next: number }[] = [{ rule: start, next: 0 }];
  const onPath = new Set([start]);
  for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
    const callee = callees.get(top.rule)?.[top.next++];
    if (callee === undefined) {
      done.add(top.rule);
      onPath.delete(top.rule);
      path.pop();
    } else if (onPath.has(callee)) return callee;
    else if (!done.has(callee)) {
      onPath.add(callee);
      path.push({ rule: callee, next: 0 });
    }
  }
  return null;
}

/** Rules that may be called before the first byte. */
function firstCalls(nodes: readonly ProgramNode[], start: number, isNullable: (start: number) => boolean): number[] {
  const calls = new Set<number>();
  const visited = new Set<number>();
  const pending = [start];
  for (let id = pending.pop(); id !== undefined; id = pending.pop()) {
    if (visited.has(id)) continue;
    visited.add(id);
    const node = nodes[id]!;
    if (node.kind === "split") pending.push(...node.targets);
    else if (node.kind === "loop") pending.push(node.body, ...(node.min === 0 ? [node.next] : []));
    else if (node.kind === "call") {
      calls.add(node.start);
      if (isNullable(node.start)) pending.push(node.next);
    }
  }
  return [...calls];
}
