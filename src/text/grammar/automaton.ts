/**
 * Runs a program over bytes. A state is a set of places, each with a stack; states and their transitions are made as
 * they are needed and remembered, so what a text often does is a table look-up. Everything remembered may be dropped at
 * any time: cursors hold their own state, and what they need again is made again.
 */
import { GRAMMAR_DEPTH_MAX } from "../../protocol/limits.ts";
import { ByteClasses } from "./byte-classes.ts";
import { Frame } from "./frame.ts";
import type { MemoryBudget } from "./memory-budget.ts";
import { END, type Program } from "./program.ts";
import { State } from "./state.ts";

/** Places that are followed at once. A grammar that is more ambiguous loses alternatives, never its correctness: each
 * place alone leads to a whole text. */
const PLACES_MAX = 1024;

/** Where even that takes too long, fewer are followed, down to this. */
const PLACES_MIN = 16;

/** Nodes followed for one token's mask, some 100 ms of work, before fewer places are. A schema takes thousands. */
const NODES_FOLLOWED_MAX = 400_000;

/** While one token is walked that a mask allows, what is followed may grow to this. */
const PLACES_OF_A_TOKEN_MAX = 64 * 1024;

const FRAME_BYTES = 160;
const STATE_BYTES = 160;
const PLACE_BYTES = 16;

interface Places {
  nodes: number[];
  frames: Frame[];
  isComplete: boolean;
  isCut: boolean;
}

export class Automaton {
  readonly program: Program;
  readonly start: State;
  /** Some state was too ambiguous and lost places: masks have to be made from the very states. */
  isPruned = false;
  readonly #classes: ByteClasses;
  readonly #memory: MemoryBudget;
  readonly #bottom: Frame;
  #states = new Map<string, State>();
  #numFrames = 1;
  #placesMax = PLACES_MAX;
  #numFollowed = 0;
  /** Frames' children of an earlier one are forgotten. */
  #epoch = 0;

  constructor(program: Program, memory: MemoryBudget) {
    this.program = program;
    this.#classes = new ByteClasses(program.nodes);
    this.#memory = memory;
    this.#bottom = new Frame(0, null, { node: -1, leftMin: -1, leftMax: -1, isLive: true });
    this.start = this.#close([program.start], [this.#bottom]);
    memory.add(this);
  }

  get bottom(): Frame {
    return this.#bottom;
  }

  /** By byte: its class; bytes of one class are never told apart. */
  get classOf(): Uint8Array {
    return this.#classes.of;
  }

  /** A new token: what it takes is counted from here. */
  beginToken(): void {
    this.#numFollowed = 0;
  }

  /** Drops what is remembered. */
  forget(): void {
    for (const state of this.#states.values()) state.next = null;
    this.#states = new Map();
    this.#epoch++;
  }

  /** @returns null where nothing goes on with this byte */
  step(state: State, byteClass: number): State | null {
    if (state.next === null) {
      state.next = new Array<State | null | undefined>(this.#classes.count);
      this.#memory.take(this.#classes.count * 8);
    }
    const known = state.next[byteClass];
    if (known !== undefined) return known;
    const row = state.next;
    const made = this.#make(state, byteClass);
    row[byteClass] = made;
    return made;
  }

  /** As `step` for each byte, without losing places in between. */
  stepThrough(state: State, bytes: Uint8Array): State | null {
    let at: State | null = state;
    for (const byte of bytes) {
      at = this.#make(at, this.#classes.of[byte]!, PLACES_OF_A_TOKEN_MAX);
      if (at === null) return null;
    }
    return at;
  }

  /** @returns where the token `id` leads as a whole, not as bytes */
  stepToken(state: State, id: number): State | null {
    const nodes: number[] = [];
    const frames: Frame[] = [];
    for (const [i, node] of state.nodes.entries()) {
      const place = this.program.nodes[node]!;
      if (place.kind !== "token" || place.id !== id) continue;
      nodes.push(place.next);
      frames.push(state.frames[i]!);
    }
    return nodes.length === 0 ? null : orNull(this.#close(nodes, frames));
  }

  /** The state with the places of both. */
  merge(a: State, b: State): State {
    return this.#close([...a.nodes, ...b.nodes], [...a.frames, ...b.frames], a.isComplete || b.isComplete);
  }

  /** What follows when the rule that `frame` called is at its end. */
  afterCall(frame: Frame): State | null {
    return frame.parent === null ? null : orNull(this.#close([frame.node], [frame.parent]));
  }

  /**
   * Some places of a state, as they look from inside their rule to a token: the rule's end is the end of the text, and
   * counts beyond the token's bytes are alike.
   */
  localState(nodes: readonly number[], frames: readonly Frame[], numBytesMax: number): State {
    const local = frames.map((frame) => this.#localFrame(frame, numBytesMax));
    return this.#close([...nodes], local);
  }

  /** A state of some places of another. */
  part(nodes: readonly number[], frames: readonly Frame[]): State {
    return this.#close([...nodes], [...frames]);
  }

  #localFrame(frame: Frame, numBytesMax: number): Frame {
    if (!frame.isLoop || frame.parent === null) return this.#bottom;
    const parent = this.#localFrame(frame.parent, numBytesMax);
    const leftMin = Math.min(frame.leftMin, numBytesMax);
    const leftMax = Math.min(frame.leftMax, numBytesMax);
    return this.#push(parent, frame.node, {
      leftMin,
      leftMax,
      isLive: parent.isLive && this.#isLoopLive(frame.node, leftMin),
    });
  }

  #make(state: State, byteClass: number, placesMax = this.#placesMax): State | null {
    const byte = this.#classes.example[byteClass]!;
    const nodes: number[] = [];
    const frames: Frame[] = [];
    for (let i = 0; i < state.nodes.length; i++) {
      const node = this.program.nodes[state.nodes[i]!]!;
      if (node.kind !== "bytes") continue;
      const { edges } = node;
      for (let at = 0; at < edges.length; at += 3) {
        if (byte < edges[at]! || byte > edges[at + 1]!) continue;
        nodes.push(edges[at + 2]!);
        frames.push(state.frames[i]!);
      }
    }
    return nodes.length === 0 ? null : orNull(this.#close(nodes, frames, false, placesMax));
  }

  /** Follows everything that consumes nothing, and finds the state of what is left. */
  #close(seedNodes: number[], seedFrames: Frame[], isComplete = false, placesMax = this.#placesMax): State {
    const places: Places = { nodes: [], frames: [], isComplete, isCut: false };
    const visited = new Set<number>();
    const nodes = seedNodes.reverse();
    const frames = seedFrames.reverse();
    const numNodes = this.program.nodes.length;
    for (let node = nodes.pop(); node !== undefined; node = nodes.pop()) {
      const frame = frames.pop()!;
      const key = frame.id * numNodes + node;
      if (visited.has(key)) continue;
      visited.add(key);
      if (places.nodes.length >= placesMax) {
        this.isPruned = true;
        break;
      }
      this.#follow(node, frame, places, nodes, frames);
    }
    this.#count(visited.size);
    return this.#intern(places);
  }

  #count(numFollowed: number): void {
    this.#numFollowed += numFollowed;
    if (this.#numFollowed <= NODES_FOLLOWED_MAX || this.#placesMax <= PLACES_MIN) return;
    this.#placesMax /= 2;
    this.#numFollowed = 0;
    this.isPruned = true;
  }

  /** One node: its successors go on the lists, or it is a place itself. */
  #follow(id: number, frame: Frame, places: Places, nodes: number[], frames: Frame[]): void {
    const node = this.program.nodes[id]!;
    const visit = (next: number, on: Frame | null) => {
      if (on === null) return;
      nodes.push(next);
      frames.push(on);
    };
    switch (node.kind) {
      case "end":
        if (frame.parent === null) places.isComplete = true;
        else if (!frame.isLoop) visit(frame.node, frame.parent);
        else {
          const loop = this.program.nodes[frame.node]!;
          if (loop.kind !== "loop") throw new Error("A loop's frame without a loop.");
          if (frame.leftMin === 0) visit(loop.next, frame.parent);
          visit(loop.body, this.#pushLoop(frame.parent, frame.node, frame.leftMin, frame.leftMax, places));
        }
        return;
      case "split":
        for (let i = node.targets.length - 1; i >= 0; i--) visit(node.targets[i]!, frame);
        return;
      case "call":
        visit(node.start, node.next === END ? frame : this.#pushCall(frame, node.next, node.start, places));
        return;
      case "loop":
        if (node.min === 0) visit(node.next, frame);
        visit(node.body, this.#pushLoop(frame, id, node.min, node.max, places));
        return;
      default:
        if (!this.#fits(this.program.needs[id]!, frame.depth, places)) return;
        places.nodes.push(id);
        places.frames.push(frame);
    }
  }

  /** What needs Infinity can never end, wherever it stands; anything else was only cut here for being deep. */
  #fits(need: number, depth: number, places: Places): boolean {
    if (need + depth <= GRAMMAR_DEPTH_MAX) return true;
    if (need !== Number.POSITIVE_INFINITY) places.isCut = true;
    return false;
  }

  #pushCall(parent: Frame, next: number, start: number, places: Places): Frame | null {
    const { needs, tokenNeeds } = this.program;
    const need = Math.max(needs[next]!, 1 + needs[start]!);
    if (!this.#fits(need, parent.depth, places)) return null;
    const isLive = parent.isLive && tokenNeeds[next]! + parent.depth <= GRAMMAR_DEPTH_MAX;
    return this.#push(parent, next, { leftMin: -1, leftMax: -1, isLive });
  }

  /** One more time round, of `min` to `max` that are left. */
  #pushLoop(parent: Frame, id: number, min: number, max: number, places: Places): Frame | null {
    const loop = this.program.nodes[id]!;
    if (max === 0 || loop.kind !== "loop") return null;
    const need = Math.max(this.program.needs[loop.body]!, this.program.needs[loop.next]!);
    if (!this.#fits(need, parent.depth, places)) return null;
    const leftMin = Math.max(0, min - 1);
    const isLive = parent.isLive && this.#isLoopLive(id, leftMin);
    return this.#push(parent, id, { leftMin, leftMax: max - 1, isLive });
  }

  #isLoopLive(id: number, leftMin: number): boolean {
    const loop = this.program.nodes[id]!;
    if (loop.kind !== "loop") return false;
    const { tokenNeeds } = this.program;
    return Number.isFinite(leftMin === 0 ? tokenNeeds[loop.next]! : tokenNeeds[loop.next]! + tokenNeeds[loop.body]!);
  }

  #push(parent: Frame, node: number, fields: Pick<Frame, "leftMin" | "leftMax" | "isLive">): Frame {
    const key = `${node}:${fields.leftMin}:${fields.leftMax}`;
    if (parent.children === null || parent.epoch !== this.#epoch) {
      parent.children = new Map();
      parent.epoch = this.#epoch;
    }
    let frame = parent.children.get(key);
    if (frame === undefined) {
      frame = new Frame(this.#numFrames++, parent, { node, ...fields });
      parent.children.set(key, frame);
      this.#memory.take(FRAME_BYTES);
    }
    return frame;
  }

  #intern({ nodes, frames, isComplete, isCut }: Places): State {
    const order = nodes.map((_, i) => i).sort((a, b) => nodes[a]! - nodes[b]! || frames[a]!.id - frames[b]!.id);
    const key = `${isComplete ? "!" : ""}${isCut ? "?" : ""}${order.map((i) => `${nodes[i]},${frames[i]!.id}`).join(";")}`;
    const known = this.#states.get(key);
    if (known !== undefined) return known;
    const { needs, tokenNeeds } = this.program;
    let reach = isCut ? Number.POSITIVE_INFINITY : 0;
    let isLive = false;
    for (let i = 0; i < nodes.length; i++) {
      const { depth } = frames[i]!;
      reach = Math.max(reach, depth + needs[nodes[i]!]!);
      isLive ||= frames[i]!.isLive && depth + tokenNeeds[nodes[i]!]! <= GRAMMAR_DEPTH_MAX;
    }
    const state = new State({
      nodes: order.map((i) => nodes[i]!),
      frames: order.map((i) => frames[i]!),
      isComplete,
      isLive,
      reach,
    });
    this.#states.set(key, state);
    this.#memory.take(STATE_BYTES + key.length + nodes.length * PLACE_BYTES);
    return state;
  }
}

/** A state without a way on and not at an end is none. */
function orNull(state: State): State | null {
  return state.nodes.length === 0 && !state.isComplete ? null : state;
}
