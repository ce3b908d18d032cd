/** The lists of a step in one buffer: filled on the CPU, then uploaded in one piece as far as they were written. */
import type { BufferPart, GpuDevice } from "./device.ts";
import type { StepLayout, StepPart } from "./options.ts";

export class StepBuffer {
  readonly buffer: GPUBuffer;
  readonly #device: GpuDevice;
  readonly #layout: StepLayout;
  readonly #words: Uint32Array;
  #dirty: { start: number; end: number } | null = null;

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
    const start = part.firstWord + at;
    this.#words.set(words, start);
    const end = start + words.length;
    this.#dirty =
      this.#dirty === null
        ? { start, end }
        : { start: Math.min(this.#dirty.start, start), end: Math.max(this.#dirty.end, end) };
  }

  upload(): void {
    if (this.#dirty === null) return;
    const { start, end } = this.#dirty;
    this.#device.upload(this.buffer, this.#words.subarray(start, end), start * 4);
    this.#dirty = null;
  }
}
