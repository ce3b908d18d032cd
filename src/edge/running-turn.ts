/**
 * A turn that is being generated, wired to what stores it, and the invocations that run it one after another: each gets as
 * far as its CPU time goes (`cpu-budget.ts`), and the turn waits for the next. It may need another generation on the way.
 */
import { CpuBudget } from "./cpu-budget.ts";
import { turnCpuMsFrom } from "./engine-settings.ts";
import type { Env } from "./env.ts";
import { toApiError } from "./rpc-result.ts";
import type { SessionStore } from "./session-store.ts";
import { Turn } from "./turn.ts";
import { isPassing } from "./turn-admission.ts";
import type { TurnLog } from "./turn-log.ts";
import type { TurnMeter } from "./turn-meter.ts";
import type { TurnSource } from "./turn-source.ts";
import type { StoredTurn, TurnStore } from "./turn-store.ts";

export interface RunningHost {
  env: Env;
  storage: DurableObjectStorage;
  store: SessionStore;
  turns: TurnStore;
  /** @param log what is known of it @returns another generation of the same answer; null where it can have none */
  again(log: TurnLog): Promise<TurnSource | null>;
  /** @param save to be called once nobody takes the turn for running any more */
  ended(save: () => void): void;
  meter: TurnMeter;
  /** Something is missing that may be there later: it is to be driven again then. */
  failed(): void;
  /** Nobody drives it any more. */
  isLeft(): void;
}

export class RunningTurn {
  readonly turn: Turn;
  readonly #host: RunningHost;
  readonly #requestId: string;
  #source: TurnSource;
  #isDriven = false;

  /** @param log what is stored of it */
  constructor(host: RunningHost, source: TurnSource, { answerId, request }: StoredTurn, log: TurnLog) {
    this.#host = host;
    this.#requestId = request.requestId;
    this.#source = source;
    const { storage, store, turns } = host;
    this.turn = new Turn(
      source.generation,
      {
        model: source.model,
        sink: {
          checkpoint: (text, events, isLast) => {
            store.checkpoint(answerId, text);
            turns.append(events);
            this.#source.checkpointed(isLast);
          },
          ended: (text, reason, ids, events) => {
            host.meter.ended(events.at(-1));
            host.ended(() => {
              storage.transactionSync(() => {
                store.endTurn(answerId, text, reason, ids, Date.now());
                turns.append(events);
              });
              if (ids !== null) this.#source.ended(ids);
            });
          },
        },
        nextEvents: async (budget) => {
          const given = await this.#source.nextEvents(budget);
          host.meter.observe(given);
          return given;
        },
        describe: (cause) => toApiError(this.#requestId, cause),
        nowMs: () => Date.now(),
      },
      log,
    );
  }

  /** By an invocation that is under way. */
  get isDriven(): boolean {
    return this.#isDriven;
  }

  /** Runs it in this invocation. Never throws. */
  async drive(): Promise<void> {
    if (this.#isDriven) return;
    this.#isDriven = true;
    try {
      if (this.turn.isLost) await this.#regain();
      const budget = new CpuBudget(turnCpuMsFrom(this.#host.env.TURN_CPU_MS), () => Date.now());
      const outcome = await this.turn.run(budget);
      if (outcome === "lost") this.#host.failed();
      // Also of a session that is deleted, whose sink hears nothing.
      if (outcome === "ended") this.#host.meter.ended(undefined);
    } catch (cause) {
      this.turn.fail(cause);
    } finally {
      this.#isDriven = false;
      this.#host.isLeft();
    }
  }

  /** Another generation in the place of the one that is gone, where there can be one now. */
  async #regain(): Promise<void> {
    try {
      const source = await this.#host.again(this.turn.log);
      if (!this.turn.isLost) source?.generation.abort();
      else if (source === null) this.turn.fail(new Error("The turn cannot go on."));
      else {
        this.#source = source;
        this.turn.goOn(source.generation);
      }
    } catch (cause) {
      if (!isPassing(toApiError(this.#requestId, cause))) this.turn.fail(cause);
    }
  }
}
