/**
 * The frame that both streamed formats of OpenAI share: chunks with the same id, time and model, the usage rule and the
 * end mark. What is inside a choice is the `ChoiceFormat`'s.
 *
 * Order: what opens each choice, then its pieces and its finish (choices interleaved), the usage chunk if it was asked
 * for (all others then carry `usage: null`), `[DONE]`.
 */
import type { StreamEncoder } from "../answer-encoder.ts";
import { apiErrorOf } from "../error-event.ts";
import type { ApiError } from "../errors.ts";
import { EventOrder } from "../event-order.ts";
import type { GenerateEvent } from "../generate.ts";
import { SSE_DONE, SSE_HEADERS, SSE_PING, sseData } from "../sse.ts";
import { errorChunk } from "./error-body.ts";
import { usageBody } from "./usage.ts";

export interface AnswerFrame {
  id: string;
  /** Unix seconds. */
  createdS: number;
  numChoices: number;
  includeUsage: boolean;
  /** More top-level fields for every chunk or the body, such as a session's id. */
  extra?: Readonly<Record<string, string>>;
}

type EventOf<T extends GenerateEvent["type"]> = Extract<GenerateEvent, { type: T }>;

export type PieceEvent = EventOf<"prompt" | "delta" | "reasoning" | "toolCall" | "toolArguments">;

/** The choice of a chunk, or null where the event needs none. */
export interface ChoiceFormat {
  readonly object: string;
  open(index: number): object | null;
  piece(event: PieceEvent): object | null;
  finish(event: EventOf<"finish">): object;
}

export class ChunkStream implements StreamEncoder {
  readonly headers = SSE_HEADERS;
  readonly keepAlive = SSE_PING;
  readonly #frame: AnswerFrame;
  readonly #format: ChoiceFormat;
  readonly #order: EventOrder;
  #model = "";

  constructor(frame: AnswerFrame, format: ChoiceFormat) {
    this.#frame = frame;
    this.#format = format;
    this.#order = new EventOrder(frame.numChoices);
  }

  encode(event: GenerateEvent): string {
    this.#order.check(event);
    switch (event.type) {
      case "start":
        this.#model = event.model;
        return Array.from({ length: this.#frame.numChoices }, (_, index) => this.#chunk(this.#format.open(index))).join(
          "",
        );
      case "prompt":
      case "delta":
      case "reasoning":
      case "toolCall":
      case "toolArguments":
        return this.#chunk(this.#format.piece(event));
      case "finish":
        return this.#chunk(this.#format.finish(event));
      case "done":
        return (this.#frame.includeUsage ? this.#write([], { usage: usageBody(event.usage) }) : "") + SSE_DONE;
      case "error":
        return this.fail(apiErrorOf(event));
    }
  }

  end(): void {
    this.#order.end();
  }

  fail(error: ApiError): string {
    return errorChunk(error);
  }

  #chunk(choice: object | null): string {
    if (choice === null) return "";
    return this.#write([choice], this.#frame.includeUsage ? { usage: null } : {});
  }

  #write(choices: object[], usage: object): string {
    const { id, createdS, extra } = this.#frame;
    return sseData({
      id,
      object: this.#format.object,
      created: createdS,
      model: this.#model,
      choices,
      ...usage,
      ...extra,
    });
  }
}
