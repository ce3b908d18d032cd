/**
 * Answers of POST /api/chat and /api/generate, whole and streamed: the same lines with the text in another place. A
 * stream is NDJSON whose last line has `done: true`, a reason and the counters; a fault after the 200 is a line
 * `{"error": "…"}`, which Ollama's clients throw.
 */
import type { Answer } from "../answer.ts";
import type { StreamEncoder } from "../answer-encoder.ts";
import { apiErrorOf } from "../error-event.ts";
import type { ApiError } from "../errors.ts";
import { EventOrder } from "../event-order.ts";
import type { GenerateEvent, TokenLogprob } from "../generate.ts";
import { CallCollector, ollamaCalls } from "./calls.ts";
import { countersOf, doneReasonOf } from "./counters.ts";
import { ollamaErrorBody } from "./error-body.ts";
import { ollamaLogprobs } from "./logprobs.ts";

export interface OllamaFrame {
  /** As the client called it, or the one that answers in its place. */
  model: string;
  /** RFC 3339. One for the whole answer. */
  createdAt: string;
}

/** What a line has of the answer. */
export interface OllamaPiece {
  text: string;
  thinking?: string;
  calls?: object[];
}

/** Where a line has it. */
export type OllamaFormat = (piece: OllamaPiece) => object;

export const chatFormat: OllamaFormat = ({ text, thinking = "", calls = [] }) => ({
  message: {
    role: "assistant",
    content: text,
    ...(thinking !== "" && { thinking }),
    ...(calls.length > 0 && { tool_calls: calls }),
  },
});

/** A prompt brings no tools, so its answer calls none. */
export const generateFormat: OllamaFormat = ({ text, thinking = "" }) => ({
  response: text,
  ...(thinking !== "" && { thinking }),
});

export function ollamaBody(answer: Answer, format: OllamaFormat, { model, createdAt }: OllamaFrame) {
  const { text, reasoning, toolCalls, tokens, reason } = answer.choices[0]!;
  return {
    model,
    created_at: createdAt,
    ...format({ text, thinking: reasoning, calls: ollamaCalls(toolCalls) }),
    ...logprobsField(tokens),
    done: true,
    done_reason: doneReasonOf(reason),
    ...countersOf(answer.usage, answer.timings),
  };
}

/** The answer to a request without a prompt. */
export function ollamaIdleBody(isUnload: boolean, format: OllamaFormat, { model, createdAt }: OllamaFrame) {
  return {
    model,
    created_at: createdAt,
    ...format({ text: "" }),
    done: true,
    done_reason: isUnload ? "unload" : "load",
  };
}

export function ndjsonLine(value: object): string {
  return `${JSON.stringify(value)}\n`;
}

export const NDJSON_HEADERS: Readonly<Record<string, string>> = {
  "content-type": "application/x-ndjson",
  "cache-control": "no-cache",
  // nginx and its kin would collect the stream otherwise.
  "x-accel-buffering": "no",
};

export class OllamaStream implements StreamEncoder {
  readonly headers = NDJSON_HEADERS;
  /** Every line must be an object that means something. */
  readonly keepAlive = null;
  readonly #format: OllamaFormat;
  readonly #frame: OllamaFrame;
  readonly #order = new EventOrder(1);
  readonly #calls = new CallCollector();
  #reason: "stop" | "length" = "stop";

  constructor(format: OllamaFormat, frame: OllamaFrame) {
    this.#format = format;
    this.#frame = frame;
  }

  encode(event: GenerateEvent): string {
    this.#order.check(event);
    switch (event.type) {
      case "start":
        return "";
      case "prompt":
      case "delta":
        if (event.text === "" && event.tokens === null) return "";
        return this.#line({ text: event.text }, { ...logprobsField(event.tokens), done: false });
      case "reasoning":
        if (event.text === "" && event.tokens === null) return "";
        return this.#line({ text: "", thinking: event.text }, { ...logprobsField(event.tokens), done: false });
      case "toolCall":
        return this.#callLine(this.#calls.begin(event.id, event.name));
      case "toolArguments":
        this.#calls.add(event.text);
        return "";
      case "finish":
        this.#reason = doneReasonOf(event.reason);
        return this.#callLine(this.#calls.end());
      case "done": {
        const counters = countersOf(event.usage, event.timings);
        return this.#line({ text: "" }, { done: true, done_reason: this.#reason, ...counters });
      }
      case "error":
        return this.fail(apiErrorOf(event));
    }
  }

  end(): void {
    this.#order.end();
  }

  fail(error: ApiError): string {
    return ndjsonLine(ollamaErrorBody(error));
  }

  #callLine(calls: object[]): string {
    return calls.length === 0 ? "" : this.#line({ text: "", calls }, { done: false });
  }

  #line(piece: OllamaPiece, rest: object): string {
    const { model, createdAt } = this.#frame;
    return ndjsonLine({ model, created_at: createdAt, ...this.#format(piece), ...rest });
  }
}

function logprobsField(tokens: TokenLogprob[] | null): object {
  return tokens === null ? {} : { logprobs: ollamaLogprobs(tokens) };
}
