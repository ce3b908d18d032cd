/** A place in a text: everything that may come next. Equal places of one automaton are one object. */
import type { Frame } from "./frame.ts";

export class State {
  /** Nodes that consume something, each with its stack. */
  readonly nodes: readonly number[];
  readonly frames: readonly Frame[];
  /** The text may end here. */
  readonly isComplete: boolean;
  /** Some way on needs no token but single bytes: a vocabulary never gets stuck behind it. */
  readonly isLive: boolean;
  /** The deepest stack that a way from here needs; Infinity where one was cut for being too deep. */
  readonly reach: number;
  /** By class of bytes: the next state; null = none, undefined = not known yet. */
  next: (State | null | undefined)[] | null = null;

  constructor(fields: Pick<State, "nodes" | "frames" | "isComplete" | "isLive" | "reach">) {
    this.nodes = fields.nodes;
    this.frames = fields.frames;
    this.isComplete = fields.isComplete;
    this.isLive = fields.isLive;
    this.reach = fields.reach;
  }

  /** A token may end here. */
  get isOpen(): boolean {
    return this.isLive || this.isComplete;
  }
}
