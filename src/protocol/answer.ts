/**
 * A whole answer, collected from its events: what every format's non-streamed body is made of. Its text is the
 * concatenation of the streamed pieces by construction.
 */
import { apiErrorOf } from "./error-event.ts";
import { EventOrder } from "./event-order.ts";
import type { FinishReason, GenerateEvent, TokenLogprob, Usage } from "./generate.ts";

export interface AnswerChoice {
  index: number;
  /** The echoed prompt, where asked for, and then what was generated. */
  text: string;
  /** Of the whole `text`; null where no logprobs were asked for. */
  tokens: TokenLogprob[] | null;
  reason: FinishReason;
  /** The stop string or token that matched, or null. */
  stop: string | number | null;
}

export interface Answer {
  model: string;
  choices: AnswerChoice[];
  usage: Usage;
}

interface OpenChoice {
  pieces: string[];
  tokens: TokenLogprob[] | null;
  reason: FinishReason;
  stop: string | number | null;
}

export class AnswerCollector {
  readonly #order: EventOrder;
  readonly #choices: OpenChoice[];
  #model = "";
  #usage: Usage | null = null;

  constructor(numChoices: number) {
    this.#order = new EventOrder(numChoices);
    this.#choices = Array.from({ length: numChoices }, () => ({
      pieces: [],
      tokens: null,
      reason: "stop",
      stop: null,
    }));
  }

  /** Throws the `ApiError` of an `error` event, and an Error where the events are out of order. */
  add(event: GenerateEvent): void {
    this.#order.check(event);
    switch (event.type) {
      case "start":
        this.#model = event.model;
        break;
      case "prompt":
      case "delta": {
        const choice = this.#choices[event.index]!;
        choice.pieces.push(event.text);
        if (event.tokens !== null) {
          choice.tokens ??= [];
          for (const token of event.tokens) choice.tokens.push(token);
        }
        break;
      }
      case "finish": {
        const choice = this.#choices[event.index]!;
        choice.reason = event.reason;
        choice.stop = event.stop;
        break;
      }
      case "done":
        this.#usage = event.usage;
        break;
      case "error":
        throw apiErrorOf(event);
    }
  }

  /** After the last event. */
  answer(): Answer {
    this.#order.end();
    const choices = this.#choices.map(({ pieces, ...rest }, index) => ({ index, text: pieces.join(""), ...rest }));
    return { model: this.#model, choices, usage: this.#usage! };
  }
}
