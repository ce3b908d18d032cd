/** Masks of one model's grammars, the least recently used ones dropped beyond a number of bytes. */
import type { LocalMask } from "./masks.ts";
import type { State } from "./state.ts";

const ENTRY_BYTES = 128;

interface Entry {
  mask?: Uint32Array;
  local?: LocalMask;
}

export class MaskCache {
  readonly #bytesMax: number;
  /** In the order of their last use. */
  readonly #entries = new Map<State, Entry>();
  #numBytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get heldBytes(): number {
    return this.#numBytes;
  }

  mask(state: State): Uint32Array | undefined {
    return this.#used(state)?.mask;
  }

  local(state: State): LocalMask | undefined {
    return this.#used(state)?.local;
  }

  setMask(state: State, mask: Uint32Array): void {
    this.#put(state, { ...this.#entries.get(state), mask });
  }

  setLocal(state: State, local: LocalMask): void {
    this.#put(state, { ...this.#entries.get(state), local });
  }

  #used(state: State): Entry | undefined {
    const entry = this.#entries.get(state);
    if (entry === undefined) return undefined;
    this.#entries.delete(state);
    this.#entries.set(state, entry);
    return entry;
  }

  #put(state: State, entry: Entry): void {
    const before = this.#entries.get(state);
    if (before !== undefined) this.#numBytes -= sizeOf(before);
    this.#entries.delete(state);
    this.#entries.set(state, entry);
    this.#numBytes += sizeOf(entry);
    for (const [oldest, old] of this.#entries) {
      if (this.#numBytes <= this.#bytesMax || oldest === state) break;
      this.#entries.delete(oldest);
      this.#numBytes -= sizeOf(old);
    }
  }
}

function sizeOf({ mask, local }: Entry): number {
  return (
    ENTRY_BYTES + (mask?.byteLength ?? 0) + (local === undefined ? 0 : local.bits.byteLength + local.exits.byteLength)
  );
}
