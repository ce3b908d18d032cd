/**
 * The order of a `GenerateEvent` stream as `generate.ts` promises it, checked where streams are written: a client must
 * never see an answer without its end, or a piece after it. A broken promise is a bug of the engine, so it throws a
 * plain Error and not an `ApiError`.
 */
import type { GenerateEvent } from "./generate.ts";

interface ChoiceState {
  phase: "new" | "open" | "finished";
  numCalls: number;
}

type ChoiceEvent = Extract<GenerateEvent, { index: number }>;

export class EventOrder {
  readonly #choices: ChoiceState[];
  #state: "new" | "open" | "ended" = "new";

  constructor(numChoices: number) {
    this.#choices = Array.from({ length: numChoices }, () => ({ phase: "new", numCalls: 0 }));
  }

  get hasEnded(): boolean {
    return this.#state === "ended";
  }

  /** Throws where `event` must not come now. */
  check(event: GenerateEvent): void {
    const wanted = event.type === "start" ? "new" : "open";
    const isEarlyError = event.type === "error" && this.#state === "new";
    if (this.#state !== wanted && !isEarlyError) throw outOfOrder(event.type, `the stream is ${this.#state}`);
    switch (event.type) {
      case "start":
        this.#state = "open";
        break;
      case "prompt":
      case "delta":
      case "reasoning":
      case "toolCall":
      case "toolArguments":
      case "finish":
        this.#checkChoice(event);
        break;
      case "done": {
        const unfinished = this.#choices.findIndex(({ phase }) => phase !== "finished");
        if (unfinished >= 0) throw outOfOrder("done", `choice ${unfinished} has not finished`);
        this.#state = "ended";
        break;
      }
      case "error":
        this.#state = "ended";
    }
  }

  /** The stream has no more events: throws unless the last one was `done` or `error`. */
  end(): void {
    if (!this.hasEnded) throw new Error("The event stream broke off: its last event was neither done nor error.");
  }

  #checkChoice(event: ChoiceEvent): void {
    const state = this.#choices[event.index];
    if (state === undefined) throw outOfOrder(event.type, `there is no choice ${event.index}`);
    if (state.phase === "finished" || (event.type === "prompt" && state.phase === "open")) {
      throw outOfOrder(event.type, `choice ${event.index} is ${state.phase}`);
    }
    if (event.type === "toolCall" && event.call !== state.numCalls++) {
      throw outOfOrder(event.type, `call ${event.call} is not the next one of choice ${event.index}`);
    }
    if (event.type === "toolArguments" && event.call !== state.numCalls - 1) {
      throw outOfOrder(event.type, `call ${event.call} is not the open one of choice ${event.index}`);
    }
    state.phase = event.type === "finish" ? "finished" : "open";
  }
}

function outOfOrder(type: string, why: string): Error {
  return new Error(`The event stream is out of order: ${type} although ${why}.`);
}
