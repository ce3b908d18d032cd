/**
 * A whole answer, collected from its events: what every format's non-streamed body is made of. Its text is the
 * concatenation of the streamed pieces by construction.
 */
import { apiErrorOf } from "./error-event.ts";
import { EventOrder } from "./event-order.ts";
import type { FinishReason, GenerateEvent, Timings, TokenLogprob, ToolCall, Usage } from "./generate.ts";

export interface AnswerChoice {
  index: number;
  /** The echoed prompt, where asked for, and then what was generated. */
  text: string;
  /** What was thought before it, apart from `text`; "" where nothing was. */
  reasoning: string;
  toolCalls: ToolCall[];
  /** Of `reasoning` and the whole `text`, not of calls; null where no logprobs were asked for. */
  tokens: TokenLogprob[] | null;
  reason: FinishReason;
  /** The stop string or token that matched, or null. */
  stop: string | number | null;
}

export interface Answer {
  model: string;
  choices: AnswerChoice[];
  usage: Usage;
  timings: Timings;
}

interface OpenChoice {
  pieces: string[];
  reasoning: string[];
  calls: { id: string; name: string; pieces: string[] }[];
  tokens: TokenLogprob[] | null;
  reason: FinishReason;
  stop: string | number | null;
}

export class AnswerCollector {
  readonly #order: EventOrder;
  readonly #choices: OpenChoice[];
  #model = "";
  #usage: Usage | null = null;
  #timings: Timings | null = null;

  constructor(numChoices: number) {
    this.#order = new EventOrder(numChoices);
    this.#choices = Array.from({ length: numChoices }, () => ({
      pieces: [],
      reasoning: [],
      calls: [],
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
      case "delta":
      case "reasoning": {
        const choice = this.#choices[event.index]!;
        const pieces = event.type === "reasoning" ? choice.reasoning : choice.pieces;
        pieces.push(event.text);
        if (event.tokens !== null) {
          choice.tokens ??= [];
          for (const token of event.tokens) choice.tokens.push(token);
        }
        break;
      }
      case "toolCall":
        this.#choices[event.index]!.calls.push({ id: event.id, name: event.name, pieces: [] });
        break;
      case "toolArguments":
        this.#choices[event.index]!.calls[event.call]!.pieces.push(event.text);
        break;
      case "finish": {
        const choice = this.#choices[event.index]!;
        choice.reason = event.reason;
        choice.stop = event.stop;
        break;
      }
      case "done":
        this.#usage = event.usage;
        this.#timings = event.timings;
        break;
      case "error":
        throw apiErrorOf(event);
    }
  }

  /** After the last event. */
  answer(): Answer {
    this.#order.end();
    const choices = this.#choices.map(answerChoice);
    return { model: this.#model, choices, usage: this.#usage!, timings: this.#timings! };
  }
}

function answerChoice({ pieces, reasoning, calls, ...rest }: OpenChoice, index: number): AnswerChoice {
  const toolCalls = calls.map(({ id, name, pieces: json }) => ({ id, name, arguments: json.join("") }));
  return { index, text: pieces.join(""), reasoning: reasoning.join(""), toolCalls, ...rest };
}
