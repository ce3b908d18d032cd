/**
 * Keeps one engine process alive: starts it, hears whether it still moves, ends it where it does not, and starts another
 * one, after a pause that doubles with every life that was short.
 *
 * starting ─▶ ready ─▶ paused ─▶ starting …; `stop` ends it from anywhere. The first life is different: where that does
 * not come to `ready`, the operator has to mend something, and nothing is started again.
 */
import type { Clock } from "../api/clock.ts";
import type { EngineConfig, EngineFailure, EngineReport, FromEngine, ToEngine } from "./messages.ts";

/** One life of an engine, as `fork` gives it. */
export interface EngineProcess {
  send(message: ToEngine): void;
  /** At once, as SIGKILL does; `exited` follows. */
  kill(): void;
}

export interface EngineProcessListener {
  message(message: FromEngine): void;
  /** Once, after the last message. @param how for the log: an exit code or a signal */
  exited(how: string): void;
}

export type SpawnEngine = (listener: EngineProcessListener) => EngineProcess;

export interface SupervisorLimits {
  /** An engine that says nothing for so long has a thread that does not come back. */
  silenceMaxMs: number;
  /** A step that takes longer will not end. */
  stepMaxMs: number;
  /** Before the second life; doubled for every further one. */
  pauseMs: number;
  pauseMaxMs: number;
  /** A life that was ready for so long is forgiven all before it. */
  stableMs: number;
}

export const SUPERVISOR_LIMITS: SupervisorLimits = {
  // Kernels are compiled and tokenizers built in the engine's own thread, some seconds for large ones.
  silenceMaxMs: 30_000,
  // The longest steps, 2,048 tokens through a large model, take a few seconds; on a software GPU they compile first.
  stepMaxMs: 60_000,
  pauseMs: 250,
  pauseMaxMs: 30_000,
  stableMs: 60_000,
};

const CHECK_MS = 500;
/** A kill takes some milliseconds, more where much memory is given back. */
const KILL_GRACE_MS = 5_000;

export interface SupervisorOptions {
  config: EngineConfig;
  spawn: SpawnEngine;
  clock: Clock;
  limits: SupervisorLimits;
  /** What a ready engine says. */
  onMessage: (message: FromEngine) => void;
  /** A ready engine is lost, with all that it was answering. */
  onLost: () => void;
  log: (line: string) => void;
}

export type SupervisorPhase = "starting" | "ready" | "paused" | "stopped";

/** The first life came to nothing. */
export class EngineStartError extends Error {
  readonly failure: EngineFailure;

  constructor(failure: EngineFailure) {
    super(failure.message);
    this.name = "EngineStartError";
    this.failure = failure;
  }
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #first = Promise.withResolvers<EngineReport>();
  readonly #gone = Promise.withResolvers<void>();
  #phase: SupervisorPhase = "starting";
  #process: EngineProcess | null = null;
  #report: EngineReport | null = null;
  #failure: EngineFailure | null = null;
  #numRestarts = 0;
  /** Lives in a row that were short. */
  #numShort = 0;
  #readyAtMs = 0;
  #heardAtMs = 0;
  #resumesAtMs = 0;
  #cancelTimer = () => {};

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  get phase(): SupervisorPhase {
    return this.#phase;
  }

  /** Of the last life that was ready. */
  get report(): EngineReport | null {
    return this.#report;
  }

  get numRestarts(): number {
    return this.#numRestarts;
  }

  /** Until the engine probably answers again. */
  get backInMs(): number {
    const pauseMs = Math.max(0, this.#resumesAtMs - this.#options.clock.nowMs());
    return pauseMs + (this.#report?.loadMs ?? 0);
  }

  get retryAfterS(): number {
    return Math.max(1, Math.ceil(this.backInMs / 1000));
  }

  /** @throws EngineStartError where the engine cannot begin */
  start(): Promise<EngineReport> {
    this.#live();
    return this.#first.promise;
  }

  /** Is lost where the engine is. */
  send(message: ToEngine): void {
    this.#process?.send(message);
  }

  /** Resolves when the engine's process is gone, or does not go. */
  stop(): Promise<void> {
    this.#phase = "stopped";
    this.#cancelTimer();
    if (this.#process === null) return Promise.resolve();
    this.#cancelTimer = this.#options.clock.after(KILL_GRACE_MS, () => this.#gone.resolve());
    this.#process.kill();
    return this.#gone.promise;
  }

  #live(): void {
    const { spawn, config, clock } = this.#options;
    this.#phase = "starting";
    this.#failure = null;
    this.#heardAtMs = clock.nowMs();
    const life = spawn({
      message: (message) => {
        if (this.#process === life) this.#hear(message);
      },
      exited: (how) => {
        if (this.#process === life) this.#lose(this.#failure?.message ?? `Its process ended: ${how}.`);
      },
    });
    this.#process = life;
    life.send({ type: "load", config });
    this.#watch();
  }

  #hear(message: FromEngine): void {
    if (this.#phase === "stopped") return;
    this.#heardAtMs = this.#options.clock.nowMs();
    if (message.type === "failed") {
      this.#failure = message.failure;
      return;
    }
    if (message.type === "ready") {
      this.#phase = "ready";
      this.#report = message.report;
      this.#readyAtMs = this.#heardAtMs;
      this.#first.resolve(message.report);
    }
    const { limits, onMessage } = this.#options;
    if (message.type === "beat" && message.state !== null && message.state.stepMs > limits.stepMaxMs) {
      this.#end(`A step was under way for ${Math.round(message.state.stepMs)} ms.`);
    } else if (this.#phase === "ready") {
      onMessage(message);
    }
  }

  #watch(): void {
    const { clock, limits } = this.#options;
    this.#cancelTimer = clock.after(CHECK_MS, () => {
      const silentMs = clock.nowMs() - this.#heardAtMs;
      if (silentMs > limits.silenceMaxMs) this.#end(`It said nothing for ${silentMs} ms.`);
      else this.#watch();
    });
  }

  /** Does not wait for its exit: a process that a driver holds on to may not even be killed. */
  #end(why: string): void {
    const life = this.#process;
    this.#process = null;
    life?.kill();
    this.#lose(why);
  }

  #lose(reason: string): void {
    this.#process = null;
    this.#cancelTimer();
    if (this.#phase === "stopped") {
      this.#gone.resolve();
      return;
    }
    const { config, clock, limits, log, onLost } = this.#options;
    if (this.#report === null) {
      this.#phase = "stopped";
      this.#first.reject(new EngineStartError(this.#failure ?? { kind: "fault", message: reason }));
      return;
    }
    const wasReady = this.#phase === "ready";
    const livedMs = wasReady ? clock.nowMs() - this.#readyAtMs : 0;
    this.#numShort = livedMs >= limits.stableMs ? 1 : this.#numShort + 1;
    const pauseMs = Math.min(limits.pauseMs * 2 ** (this.#numShort - 1), limits.pauseMaxMs);
    this.#phase = "paused";
    this.#resumesAtMs = clock.nowMs() + pauseMs;
    log(`The engine of '${config.modelId}' is lost and starts again in ${pauseMs} ms. ${reason}`);
    this.#cancelTimer = clock.after(pauseMs, () => {
      this.#numRestarts++;
      this.#live();
    });
    if (wasReady) onLost();
  }
}
