/**
 * The stack of a place in a text, as a linked list from the top: calls that will come back, loops and how often they
 * still run. Equal stacks are one object, so equal places are found by identity.
 */

export class Frame {
  /** Numbered as they are made. */
  readonly id: number;
  /** A call: the node to go on at. A loop: the loop's own node. −1 for the bottom. */
  readonly node: number;
  /** Loops: repetitions that must, and that may, still come after this one. −1 for calls. */
  readonly leftMin: number;
  readonly leftMax: number;
  readonly parent: Frame | null;
  /** Calls on the stack. */
  readonly depth: number;
  /** The text can be ended from here on in tokens of one byte. */
  readonly isLive: boolean;
  /** The nearest call at or below this frame; the bottom where there is none. */
  readonly caller: Frame;
  /** Frames on top of this one, made in this epoch of the automaton. */
  children: Map<string, Frame> | null = null;
  epoch = 0;

  constructor(id: number, parent: Frame | null, fields: Pick<Frame, "node" | "leftMin" | "leftMax" | "isLive">) {
    this.id = id;
    this.node = fields.node;
    this.leftMin = fields.leftMin;
    this.leftMax = fields.leftMax;
    this.isLive = fields.isLive;
    this.parent = parent;
    this.depth = parent === null ? 0 : parent.depth + (this.isLoop ? 0 : 1);
    this.caller = parent === null || !this.isLoop ? this : parent.caller;
  }

  get isLoop(): boolean {
    return this.leftMax >= 0;
  }
}
