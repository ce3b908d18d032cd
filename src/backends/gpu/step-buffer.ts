/**
 * The lists of a step in one buffer. They are gathered on the CPU and uploaded together; parts that lie close to each other
 * go as one piece, since a call costs more than the few words between them.
 *
 * The next step's lists may be gathered before this one's are uploaded, and uploaded while the GPU still reads these: what
 * was gathered is copied, and uploads take their turn between submissions. So one buffer serves steps in flight, and every
 * kernel has one bind group.
 */
import type { BufferPart, GpuDevice } from "./device.ts";
import type { StepLayout, StepPart } from "./options.ts";

/** Words between two written ranges that are uploaded rather than left out: 16 KiB, about what a call costs. */
const GAP_WORDS_MAX = 4096;

interface Range {
  start: number;
  end: number;
}

/** Pieces of the buffer's content. */
export type StepLists = readonly { start: number; words: Uint32Array }[];

export class StepBuffer {
  readonly buffer: GPUBuffer;
  readonly #device: GpuDevice;
  readonly #layout: StepLayout;
  readonly #words: Uint32Array;
  #written: Range[] = [];

  constructor(device: GpuDevice, layout: StepLayout) {
    this.#device = device;
    this.#layout = layout;
    this.#words = new Uint32Array(layout.totalWords);
    this.buffer = device.buffer("step", layout.totalWords * 4);
  }

  part(name: StepPart): BufferPart {
    const { firstWord, words } = this.#layout.parts[name];
    return { buffer: this.buffer, offset: firstWord * 4, size: Math.ceil(words / 4) * 16 };
  }

  /** @throws RangeError where a list is longer than the plan has room for */
  set(name: StepPart, words: ArrayLike<number>, at = 0): void {
    const part = this.#layout.parts[name];
    if (at + words.length > part.words) {
      throw new RangeError(`The step's ${name} need ${at + words.length} words; there is room for ${part.words}.`);
    }
    if (words.length === 0) return;
    const start = part.firstWord + at;
    this.#words.set(words, start);
    this.#written.push({ start, end: start + words.length });
  }

  /** What was set since the last call, for `upload`. */
  take(): StepLists {
    const pieces = joined(this.#written).map(({ start, end }) => ({ start, words: this.#words.slice(start, end) }));
    this.#written = [];
    return pieces;
  }

  upload(lists: StepLists): void {
    for (const { start, words } of lists) this.#device.upload(this.buffer, words, start * 4);
  }
}

/** The ranges in order, those with a small gap between them as one. */
export function joined(ranges: readonly Range[]): Range[] {
  const out: Range[] = [];
  for (const range of [...ranges].sort((a, b) => a.start - b.start)) {
    const last = out.at(-1);
    if (last !== undefined && range.start - last.end <= GAP_WORDS_MAX) last.end = Math.max(last.end, range.end);
    else out.push({ ...range });
  }
  return out;
}
