/**
 * Keeps requests away from an origin that fails. Plain data with a clock of its owner's: nothing here waits or runs.
 *
 *   closed ──3 failures in a row──▶ open ──cool-down, then a probe that passes──▶ half-open ──first token──▶ closed
 *                                    ▲ ◀── probe fails: the next cool-down is twice as long ──┘ fails │
 *                                    └───────────────────────────────────────────────────────────────┘
 *
 * Half-open lets one request in at a time. Whoever holds that place or makes the probe may vanish with its isolate's
 * object and tell nobody, so both expire. An answer that came whole wipes the slate; a first token only lets others in,
 * so that an origin whose answers always break is not taken for sound.
 */

export const FAILURES_MAX = 3;
/** Restarting a process takes seconds; asking so often costs nothing. */
export const COOLDOWN_MS = 2_000;
export const COOLDOWN_MS_MAX = 30_000;
/** For what a probe or a request on trial may take to its first byte. */
const TRIAL_MS_MAX = 60_000;

export class CircuitBreaker {
  #numFailures = 0;
  #cooldownMs = COOLDOWN_MS;
  /** null = closed. */
  #openUntilMs: number | null = null;
  #isHalfOpen = false;
  /** A probe or a trial that is under way counts until then. */
  #trialUntilMs = 0;

  /** A request may go there now. */
  admits(nowMs: number): boolean {
    return this.#openUntilMs === null || (this.#isHalfOpen && nowMs >= this.#trialUntilMs);
  }

  /** Somebody should ask the origin whether it is well. */
  isProbeDue(nowMs: number): boolean {
    const { dueAtMs } = this;
    return dueAtMs !== null && nowMs >= dueAtMs && nowMs >= this.#trialUntilMs;
  }

  /** When the next probe is due; null = none is needed. */
  get dueAtMs(): number | null {
    return this.#isHalfOpen ? null : this.#openUntilMs;
  }

  get isClosed(): boolean {
    return this.#openUntilMs === null;
  }

  /** A probe or a request begins. */
  began(nowMs: number): void {
    if (this.#openUntilMs !== null) this.#trialUntilMs = nowMs + TRIAL_MS_MAX;
  }

  /** The origin is there: let one request try. */
  probed(): void {
    if (this.#openUntilMs === null) return;
    this.#isHalfOpen = true;
    this.#trialUntilMs = 0;
  }

  /** A request had its first token, or was answered with a refusal of the client's own making. */
  responded(): void {
    if (this.#openUntilMs === null) return;
    this.#openUntilMs = null;
    this.#isHalfOpen = false;
    this.#trialUntilMs = 0;
    // One more failure opens it again.
    this.#numFailures = FAILURES_MAX - 1;
  }

  /** An answer came whole. */
  completed(): void {
    this.responded();
    this.#numFailures = 0;
    this.#cooldownMs = COOLDOWN_MS;
  }

  /** A request or a probe failed by the origin's fault. */
  failed(nowMs: number): void {
    if (this.#openUntilMs !== null) {
      this.#cooldownMs = Math.min(this.#cooldownMs * 2, COOLDOWN_MS_MAX);
      this.#open(nowMs);
    } else if (++this.#numFailures >= FAILURES_MAX) this.#open(nowMs);
  }

  /** A request ended without telling anything, since its client left. */
  gaveUp(): void {
    this.#trialUntilMs = 0;
  }

  #open(nowMs: number): void {
    this.#openUntilMs = nowMs + this.#cooldownMs;
    this.#isHalfOpen = false;
    this.#trialUntilMs = 0;
  }
}
