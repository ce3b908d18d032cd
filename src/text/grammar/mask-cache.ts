/** Masks of one model's grammars, the least recently used ones dropped beyond a number of bytes. */
import type { State } from "./state.ts";

const ENTRY_BYTES = 128;

/** The tokens of a place within its rule. */
export interface LocalMask {
  /** Those that stay inside; empty where `tokens` has them. */
  bits: Uint32Array;
  /** The same as a list where that is shorter, or null. */
  tokens: Int32Array | null;
  /** Nodes of the trie at which the rule may be at its end. */
  exits: Int32Array;
  /** The deepest stack of any place on the way. */
  reach: number;
}

interface Entry {
  mask?: Uint32Array;
  /** Of the trie of short tokens, and of the one of long ones. */
  short?: LocalMask;
  long?: LocalMask;
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

  local(state: State, isShort: boolean): LocalMask | undefined {
    const entry = this.#used(state);
    return isShort ? entry?.short : entry?.long;
  }

  setMask(state: State, mask: Uint32Array): void {
    this.#put(state, { ...this.#entries.get(state), mask });
  }

  setLocal(state: State, isShort: boolean, local: LocalMask): void {
    this.#put(state, { ...this.#entries.get(state), ...(isShort ? { short: local } : { long: local }) });
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

function sizeOf({ mask, short, long }: Entry): number {
  return ENTRY_BYTES + (mask?.byteLength ?? 0) + localSize(short) + localSize(long);
}

function localSize(local: LocalMask | undefined): number {
  return local === undefined ? 0 : local.bits.byteLength + (local.tokens?.byteLength ?? 0) + local.exits.byteLength;
}
