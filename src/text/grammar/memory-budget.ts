/**
 * What the grammars of one model may remember together. An isolate has little to spare beside a model, so when it is
 * spent all of them forget everything; what is in use comes back within a few tokens.
 */

interface Forgetful {
  forget(): void;
}

export class MemoryBudget {
  readonly #bytesMax: number;
  readonly #holders = new Set<WeakRef<Forgetful>>();
  #numBytes = 0;
  /** How often everything was forgotten. */
  numResets = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get heldBytes(): number {
    return this.#numBytes;
  }

  add(holder: Forgetful): void {
    for (const ref of this.#holders) if (ref.deref() === undefined) this.#holders.delete(ref);
    this.#holders.add(new WeakRef(holder));
  }

  take(numBytes: number): void {
    this.#numBytes += numBytes;
  }

  /** Called between tokens, when nobody is in the middle of a walk. */
  settle(): void {
    if (this.#numBytes <= this.#bytesMax) return;
    for (const ref of this.#holders) ref.deref()?.forget();
    this.#numBytes = 0;
    this.numResets++;
  }
}
