/**
 * When the tokens of one request came, by one clock of one process: what an engine or an origin measured by its own clock
 * is never compared with it.
 */
export class TokenTimes {
  firstAtMs: number | null = null;
  lastAtMs = 0;
  /** Of each choice. */
  readonly #atMs = new Map<number, number>();

  /** Tokens that come together count once. @returns since the tokens of this choice before them; null for its first */
  came(index: number, nowMs: number): number | null {
    const beforeMs = this.#atMs.get(index);
    this.#atMs.set(index, nowMs);
    this.firstAtMs ??= nowMs;
    this.lastAtMs = nowMs;
    return beforeMs === undefined ? null : nowMs - beforeMs;
  }
}
