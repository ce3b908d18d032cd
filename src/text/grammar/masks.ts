/**
 * Which tokens may come at a state. The vocabulary's trie and the automaton are walked together; what makes that cheap:
 *
 * - Places inside a rule (a string, a number) are walked once for the rule, as if its end were the end of the text.
 *   Where a token leaves the rule, the rest of it is walked for what really follows (`LocalMask.exits`).
 * - Counts of repetitions beyond the longest token look alike, so a string with `maxLength` is as cheap as one without
 *   until its end is near.
 * - Whole masks are kept by state, the least used ones go.
 */
import { GRAMMAR_DEPTH_MAX } from "../../protocol/limits.ts";
import type { Automaton } from "./automaton.ts";
import type { Frame } from "./frame.ts";
import type { MaskCache } from "./mask-cache.ts";
import type { MemoryBudget } from "./memory-budget.ts";
import type { State } from "./state.ts";
import type { TokenTrie } from "./token-trie.ts";

/** Nodes of the trie between two looks at the memory. */
const NODES_PER_CHECK = 1024;

/** The tokens of a place within its rule. */
export interface LocalMask {
  /** Those that stay inside. */
  bits: Uint32Array;
  /** Nodes of the trie at which the rule may be at its end. */
  exits: Int32Array;
  /** The deepest stack of any place on the way. */
  reach: number;
}

export class MaskBuilder {
  readonly #automaton: Automaton;
  readonly #trie: TokenTrie;
  readonly #cache: MaskCache;
  readonly #memory: MemoryBudget;
  /** By depth in the trie: the state there. */
  readonly #path: State[] = [];

  constructor(automaton: Automaton, trie: TokenTrie, cache: MaskCache, memory: MemoryBudget) {
    this.#automaton = automaton;
    this.#trie = trie;
    this.#cache = cache;
    this.#memory = memory;
  }

  /** Shared; not to be written. */
  mask(state: State): Uint32Array {
    const known = this.#cache.mask(state);
    if (known !== undefined) return known;
    const bits = this.#make(state);
    this.#cache.setMask(state, bits);
    return bits;
  }

  #make(state: State): Uint32Array {
    const bits = new Uint32Array(this.#trie.numWords);
    if (state.isComplete) for (const id of this.#trie.endIds) setBit(bits, id);
    this.#addDemandedTokens(state, bits);
    if (!this.#automaton.isPruned && this.#addByRules(state, bits)) return bits;
    this.#addWalked(state, -1, bits);
    return bits;
  }

  #addDemandedTokens(state: State, bits: Uint32Array): void {
    for (const id of state.nodes) {
      const node = this.#automaton.program.nodes[id]!;
      if (node.kind !== "token" || node.id < 0 || node.id >= this.#trie.vocabSize) continue;
      if (this.#automaton.stepToken(state, node.id)?.isOpen) setBit(bits, node.id);
    }
  }

  /** @returns false where some state on the way was too ambiguous to be taken apart */
  #addByRules(state: State, bits: Uint32Array): boolean {
    for (const [caller, places] of byCaller(state)) {
      const nodes = places.map((i) => state.nodes[i]!);
      const frames = places.map((i) => state.frames[i]!);
      const local = this.#local(this.#automaton.localState(nodes, frames));
      if (this.#automaton.isPruned) return false;
      if (caller.depth + local.reach > GRAMMAR_DEPTH_MAX) {
        this.#addWalked(this.#automaton.part(nodes, frames), -1, bits);
        continue;
      }
      if (caller.isLive) for (let word = 0; word < bits.length; word++) bits[word]! |= local.bits[word]!;
      this.#addExits(caller, local.exits, bits);
    }
    return !this.#automaton.isPruned;
  }

  #addExits(caller: Frame, exits: Int32Array, bits: Uint32Array): void {
    if (exits.length === 0) return;
    const after = caller.parent === null ? null : this.#automaton.afterCall(caller);
    const mayEnd = caller.parent === null || (after?.isOpen ?? false);
    for (const node of exits) {
      if (mayEnd) this.#addTokens(node, bits);
      if (after !== null) this.#addWalked(after, node, bits);
    }
  }

  #local(state: State): LocalMask {
    const known = this.#cache.local(state);
    if (known !== undefined) return known;
    const bits = new Uint32Array(this.#trie.numWords);
    const exits: number[] = [];
    const reach = this.#walk(state, -1, (node, at) => {
      if (at.isLive) this.#addTokens(node, bits);
      if (at.isComplete) exits.push(node);
    });
    const made = { bits, exits: Int32Array.from(exits), reach: Math.max(reach, state.reach) };
    this.#cache.setLocal(state, made);
    return made;
  }

  /** Tokens below a node of the trie (−1: all) that `state` at that node allows. */
  #addWalked(state: State, root: number, bits: Uint32Array): void {
    this.#walk(state, root, (node, at) => {
      if (at.isOpen) this.#addTokens(node, bits);
    });
  }

  /** Visits every node of the subtree that can be reached. @returns the deepest stack that was needed */
  #walk(state: State, root: number, visit: (node: number, at: State) => void): number {
    const { bytes, depths, ends } = this.#trie;
    const { classOf } = this.#automaton;
    const path = this.#path;
    const end = root < 0 ? bytes.length : ends[root]!;
    let reach = 0;
    let numVisited = 0;
    path[root < 0 ? 0 : depths[root]! + 1] = state;
    for (let node = root + 1; node < end; ) {
      const depth = depths[node]!;
      const next = this.#automaton.step(path[depth]!, classOf[bytes[node]!]!);
      if (next === null) {
        node = ends[node]!;
        continue;
      }
      path[depth + 1] = next;
      if (next.reach > reach) reach = next.reach;
      visit(node, next);
      node++;
      if (++numVisited % NODES_PER_CHECK === 0) this.#memory.settle();
    }
    return reach;
  }

  #addTokens(node: number, bits: Uint32Array): void {
    const id = this.#trie.tokens[node]!;
    if (id < 0) return;
    setBit(bits, id);
    if (this.#trie.twins.size === 0) return;
    for (const twin of this.#trie.twins.get(id) ?? []) setBit(bits, twin);
  }
}

/** Places by the call that they are inside of. */
function byCaller(state: State): Map<Frame, number[]> {
  const groups = new Map<Frame, number[]>();
  for (const [i, frame] of state.frames.entries()) {
    const group = groups.get(frame.caller);
    if (group === undefined) groups.set(frame.caller, [i]);
    else group.push(i);
  }
  return groups;
}

function setBit(bits: Uint32Array, id: number): void {
  bits[id >> 5]! |= 1 << (id & 31);
}
