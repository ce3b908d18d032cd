/**
 * Answers between two engines. An answer is a function of its request and seed, so when its engine is lost the next one
 * goes on with it and its reader notices a pause. Two bounds: an engine that is not back soon is not waited for, and an
 * answer that was with too many lost engines, and gave nothing new in between, fails.
 *
 * Those that were with as many as they may survive are suspects: each is sent only when the one before it has given
 * something new, so that one which brings down every engine is found, and the others go on. One that gives a little each
 * time ends, too: the pauses between short lives grow beyond the first bound.
 */
import type { Clock } from "../api/clock.ts";
import type { OpenAnswer } from "./open-answer.ts";

export interface RecoveryLimits {
  /** From the loss to the next engine that is ready. */
  readyWithinMs: number;
  /** Losses without anything new between them that an answer survives. */
  lossesMax: number;
}

export const RECOVERY_LIMITS: RecoveryLimits = {
  // Less than the 30 s that the edge waits between two pieces of a stream.
  readyWithinMs: 25_000,
  lossesMax: 2,
};

/** How much longer than the bound the last engine may have taken: a first load reads from disks and compiles for the first time. */
const HOPELESS = 2;

export interface RecoveryOptions {
  clock: Clock;
  limits: RecoveryLimits;
  send: (answer: OpenAnswer) => void;
  /** It was with more lost engines than it may be, or the next one does not come in time. */
  fail: (answer: OpenAnswer, why: "losses" | "late") => void;
}

export class Recovery {
  readonly #options: RecoveryOptions;
  /** Not sent to the engine of now. */
  readonly #waiting = new Set<OpenAnswer>();
  /** The suspect that the engine works on. */
  #onTrial: OpenAnswer | null = null;
  #cancelDeadline = () => {};

  constructor(options: RecoveryOptions) {
    this.#options = options;
  }

  isWaiting(answer: OpenAnswer): boolean {
    return this.#waiting.has(answer);
  }

  /** @param answers all that are open @param backInMs until the next engine, probably */
  lost(answers: Iterable<OpenAnswer>, backInMs: number): void {
    const { clock, limits, fail } = this.#options;
    this.#onTrial = null;
    for (const answer of [...answers]) {
      if (this.#waiting.has(answer)) continue;
      if (++answer.numLosses > limits.lossesMax) fail(answer, "losses");
      else this.#waiting.add(answer);
    }
    this.#cancelDeadline();
    if (backInMs > HOPELESS * limits.readyWithinMs) this.#giveUp();
    else this.#cancelDeadline = clock.after(limits.readyWithinMs, () => this.#giveUp());
  }

  ready(): void {
    this.#cancelDeadline();
    for (const answer of this.#waiting) if (answer.numLosses < this.#options.limits.lossesMax) this.#send(answer);
    this.#tryNext();
  }

  /** It has something new, or needs nothing any more. */
  cleared(answer: OpenAnswer): void {
    this.#waiting.delete(answer);
    if (this.#waiting.size === 0) this.#cancelDeadline();
    if (this.#onTrial !== answer) return;
    this.#onTrial = null;
    this.#tryNext();
  }

  #tryNext(): void {
    const [suspect] = this.#waiting;
    this.#onTrial = suspect ?? null;
    if (suspect !== undefined) this.#send(suspect);
  }

  #send(answer: OpenAnswer): void {
    this.#waiting.delete(answer);
    this.#options.send(answer);
  }

  #giveUp(): void {
    for (const answer of [...this.#waiting]) this.#options.fail(answer, "late");
    this.#waiting.clear();
  }
}
