/**
 * Which tokens may come at a state. The vocabulary's tries and the automaton are walked together; what makes that cheap:
 *
 * - Places inside a rule (a string, a number) are walked once for the rule, as if its end were the end of the text.
 *   Where a token leaves the rule, the rest of it is walked for what really follows (`LocalMask.exits`).
 * - Counts of repetitions beyond the longest token look alike, so a string with `maxLength` is as cheap as one without
 *   until its end is near.
 * - Whole masks are kept by state, the least used ones go.
 */
import { GRAMMAR_DEPTH_MAX } from "../../protocol/limits.ts";
import type { Automaton } from "./automaton.ts";
import type { ByteTrie } from "./byte-trie.ts";
import type { Frame } from "./frame.ts";
import type { LocalMask, MaskCache } from "./mask-cache.ts";
import type { MemoryBudget } from "./memory-budget.ts";
import type { State } from "./state.ts";
import type { TokenTrie } from "./token-trie.ts";

/** Nodes of the trie between two looks at the memory. */
const NODES_PER_CHECK = 1024;

/** Where a walk was: its tokens, nodes at which the state was complete, and how deep the stack had to be. */
interface Found {
  tokens: number[];
  exits: number[];
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
    this.#automaton.beginToken();
    const bits = this.#make(state);
    this.#cache.setMask(state, bits);
    return bits;
  }

  #make(state: State): Uint32Array {
    const bits = new Uint32Array(this.#trie.numWords);
    if (state.isComplete) setBits(bits, this.#trie.endIds);
    this.#addDemandedTokens(state, bits);
    for (const trie of [this.#trie.short, this.#trie.long]) {
      if (this.#automaton.isPruned || !this.#addByRules(state, trie, bits)) this.#addWalked(state, trie, -1, bits);
    }
    return bits;
  }

  #addDemandedTokens(state: State, bits: Uint32Array): void {
    for (const id of state.nodes) {
      const node = this.#automaton.program.nodes[id]!;
      if (node.kind !== "token" || node.id < 0 || node.id >= this.#trie.vocabSize) continue;
      if (this.#automaton.stepToken(state, node.id)?.isOpen) setBits(bits, [node.id]);
    }
  }

  /** @returns false where some state on the way was too ambiguous to be taken apart */
  #addByRules(state: State, trie: ByteTrie, bits: Uint32Array): boolean {
    for (const [caller, places] of byCaller(state)) {
      const nodes = places.map((i) => state.nodes[i]!);
      const frames = places.map((i) => state.frames[i]!);
      const local = this.#local(this.#automaton.localState(nodes, frames, trie.lengthMax), trie);
      if (this.#automaton.isPruned) return false;
      if (caller.depth + local.reach > GRAMMAR_DEPTH_MAX) {
        this.#addWalked(this.#automaton.part(nodes, frames), trie, -1, bits);
        continue;
      }
      if (caller.isLive) {
        if (local.tokens !== null) setBits(bits, local.tokens);
        else for (let word = 0; word < bits.length; word++) bits[word]! |= local.bits[word]!;
      }
      this.#addExits(caller, trie, local.exits, bits);
    }
    return !this.#automaton.isPruned;
  }

  #addExits(caller: Frame, trie: ByteTrie, exits: Int32Array, bits: Uint32Array): void {
    if (exits.length === 0) return;
    const after = caller.parent === null ? null : this.#automaton.afterCall(caller);
    const mayEnd = caller.parent === null || (after?.isOpen ?? false);
    for (const node of exits) {
      if (mayEnd) setBits(bits, tokensAt(trie, node));
      if (after !== null) this.#addWalked(after, trie, node, bits);
    }
  }

  #local(state: State, trie: ByteTrie): LocalMask {
    const isShort = trie === this.#trie.short;
    const known = this.#cache.local(state, isShort);
    if (known !== undefined) return known;
    const found = this.#walk(state, trie, -1, false);
    const isSparse = found.tokens.length < this.#trie.numWords;
    const bits = new Uint32Array(isSparse ? 0 : this.#trie.numWords);
    if (!isSparse) setBits(bits, found.tokens);
    const made: LocalMask = {
      bits,
      tokens: isSparse ? Int32Array.from(found.tokens) : null,
      exits: Int32Array.from(found.exits),
      reach: Math.max(found.reach, state.reach),
    };
    this.#cache.setLocal(state, isShort, made);
    return made;
  }

  /** Tokens below a node of the trie (−1: all) that `state` at that node allows. */
  #addWalked(state: State, trie: ByteTrie, root: number, bits: Uint32Array): void {
    const hasTokens = root < 0 ? trie.bytes.length > 0 : trie.ends[root]! > root + 1;
    if (hasTokens) setBits(bits, this.#walk(state, trie, root, true).tokens);
  }

  /**
   * Goes through every node of the subtree that can be reached.
   *
   * @param isAtEnd where the state is complete a token may end; otherwise those nodes are exits
   */
  #walk(state: State, trie: ByteTrie, root: number, isAtEnd: boolean): Found {
    const { bytes, depths, ends, tokens } = trie;
    const { classOf } = this.#automaton;
    const path = this.#path;
    const found: Found = { tokens: [], exits: [], reach: 0 };
    const end = root < 0 ? bytes.length : ends[root]!;
    let numVisited = 0;
    path[root < 0 ? 0 : depths[root]! + 1] = state;
    for (let node = root + 1; node < end; ) {
      const depth = depths[node]!;
      const from = path[depth]!;
      const byteClass = classOf[bytes[node]!]!;
      const known = from.next === null ? undefined : from.next[byteClass];
      const next = known === undefined ? this.#automaton.step(from, byteClass) : known;
      if (next === null) {
        node = ends[node]!;
        continue;
      }
      path[depth + 1] = next;
      if (next.reach > found.reach) found.reach = next.reach;
      if (tokens[node]! >= 0 && (next.isLive || (isAtEnd && next.isComplete))) {
        found.tokens.push(tokens[node]!);
        if (trie.twins.size > 0) found.tokens.push(...(trie.twins.get(tokens[node]!) ?? []));
      }
      if (next.isComplete && !isAtEnd) found.exits.push(node);
      node++;
      if (++numVisited % NODES_PER_CHECK === 0) this.#memory.settle();
    }
    return found;
  }
}

function tokensAt(trie: ByteTrie, node: number): number[] {
  const id = trie.tokens[node]!;
  return id < 0 ? [] : [id, ...(trie.twins.get(id) ?? [])];
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

function setBits(bits: Uint32Array, ids: ArrayLike<number>): void {
  for (let i = 0; i < ids.length; i++) {
    const id = ids[i]!;
    bits[id >> 5]! |= 1 << (id & 31);
  }
}
