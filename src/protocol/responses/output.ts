/**
 * A response as it grows: takes the events of an answer, keeps the items that they make, and says for each event what
 * a stream tells of it. Both the whole response and the stream come from here, so they cannot differ.
 *
 * An item ends where another begins: one message, one piece of reasoning, one call after the other. An answer without
 * any item has one empty message, since clients look for the first one.
 */
import { apiErrorOf } from "../error-event.ts";
import type { ApiError } from "../errors.ts";
import { EventOrder } from "../event-order.ts";
import type { FinishReason, GenerateEvent, TokenLogprob, Usage } from "../generate.ts";
import { chatLogprobs } from "../openai/chat-logprobs.ts";
import { itemIdOf } from "./ids.ts";
import {
  type ItemStatus,
  type LogprobEntry,
  type OutputItem,
  type OutputText,
  type ResponseBody,
  type ResponseError,
  type ResponseFrame,
  type ResponseStatus,
  responseBody,
  statusOf,
} from "./response-body.ts";

/** An event of the stream without its number. */
export interface StreamEvent {
  type: string;
  [field: string]: unknown;
}

type EventOf<T extends GenerateEvent["type"]> = Extract<GenerateEvent, { type: T }>;
type ItemOf<T extends OutputItem["type"]> = Extract<OutputItem, { type: T }>;

/** The one choice that a response has. */
const NUM_CHOICES = 1;
const CONTENT_INDEX = 0;

export class ResponseOutput {
  readonly #frame: ResponseFrame;
  readonly #order = new EventOrder(NUM_CHOICES);
  readonly #items: OutputItem[] = [];
  /** Text that came while a call was open: more of its arguments may follow, so it waits for the call's end. */
  #heldText: (EventOf<"delta"> | EventOf<"reasoning">)[] = [];
  /** The last of `#items` is still growing; its text is here, in pieces. */
  #open: { item: OutputItem; pieces: string[]; logprobs: LogprobEntry[] } | null = null;
  #model = "";
  #status: ResponseStatus = "in_progress";
  #usage: Usage | null = null;
  #error: ResponseError | null = null;

  constructor(frame: ResponseFrame) {
    this.#frame = frame;
  }

  /** As far as it is known. */
  body(): ResponseBody {
    const state = { status: this.#status, model: this.#model, error: this.#error, usage: this.#usage };
    return responseBody(this.#frame, { ...state, output: [...this.#items] });
  }

  /** @throws Error where the events are out of order */
  add(event: GenerateEvent): StreamEvent[] {
    this.#order.check(event);
    switch (event.type) {
      case "start":
        this.#model = event.model;
        return [this.#lifecycle("response.created"), this.#lifecycle("response.in_progress")];
      case "prompt":
        throw new Error("A response has no echo, but there is a prompt event.");
      case "delta":
      case "reasoning":
        return this.#textPiece(event);
      case "toolCall":
        return [...this.#closeAll("completed"), ...this.#openCall(event)];
      case "toolArguments":
        return this.#argumentsPiece(event);
      case "finish":
        return this.#finish(event.reason);
      case "done":
        this.#usage = event.usage;
        return [this.#lifecycle(this.#status === "completed" ? "response.completed" : "response.incomplete")];
      case "error":
        return this.fail(apiErrorOf(event));
    }
  }

  /** The events have ended. Throws where `done` or `error` is missing. */
  end(): void {
    this.#order.end();
  }

  /** The `error` event makes clients throw, with its code; the last one has the response as far as it came. */
  fail(error: ApiError): StreamEvent[] {
    const { message, code, param } = error;
    const closed = this.#closeAll("incomplete");
    this.#status = "failed";
    this.#error = { code: errorCode(error), message };
    return [...closed, { type: "error", code, message, param }, this.#lifecycle("response.failed")];
  }

  #lifecycle(type: string): StreamEvent {
    return { type, response: this.body() };
  }

  #textPiece(event: EventOf<"delta"> | EventOf<"reasoning">): StreamEvent[] {
    const { type, text, tokens } = event;
    const kind = type === "delta" ? "message" : "reasoning";
    const logprobs = kind === "message" ? logprobEntries(tokens) : [];
    if (text === "" && logprobs.length === 0) return [];
    if (this.#open?.item.type === "function_call") {
      this.#heldText.push(event);
      return [];
    }
    const opened = this.#open?.item.type === kind ? [] : [...this.#close("completed"), ...this.#openText(kind)];
    const { item, pieces, logprobs: all } = this.#open!;
    pieces.push(text);
    for (const entry of logprobs) all.push(entry);
    const place = { item_id: item.id, output_index: this.#items.length - 1, content_index: CONTENT_INDEX };
    const delta: StreamEvent =
      kind === "message"
        ? { type: "response.output_text.delta", ...place, delta: text, logprobs }
        : { type: "response.reasoning_text.delta", ...place, delta: text };
    return [...opened, delta];
  }

  #openText(kind: "message" | "reasoning"): StreamEvent[] {
    const index = this.#items.length;
    const status = "in_progress" as const;
    const item: OutputItem =
      kind === "message"
        ? { id: this.#itemId("msg"), type: "message", role: "assistant", status, content: [] }
        : { id: this.#itemId("rs"), type: "reasoning", status, summary: [], content: [] };
    this.#begin(item);
    const part = kind === "message" ? textPart("", []) : { type: "reasoning_text", text: "" };
    const place = { item_id: item.id, output_index: index, content_index: CONTENT_INDEX };
    return [
      { type: "response.output_item.added", output_index: index, item: { ...item } },
      { type: "response.content_part.added", ...place, part },
    ];
  }

  #openCall({ id, name }: EventOf<"toolCall">): StreamEvent[] {
    const index = this.#items.length;
    const item: ItemOf<"function_call"> = {
      id: this.#itemId("fc"),
      type: "function_call",
      status: "in_progress",
      call_id: id,
      name,
      arguments: "",
    };
    this.#begin(item);
    return [{ type: "response.output_item.added", output_index: index, item: { ...item } }];
  }

  #argumentsPiece({ text }: EventOf<"toolArguments">): StreamEvent[] {
    const { item, pieces } = this.#open!;
    if (item.type !== "function_call") throw new Error("Arguments came for a call that has ended.");
    if (text === "") return [];
    pieces.push(text);
    const place = { item_id: item.id, output_index: this.#items.length - 1 };
    return [{ type: "response.function_call_arguments.delta", ...place, delta: text }];
  }

  #finish(reason: FinishReason): StreamEvent[] {
    this.#status = statusOf(reason);
    const opened = this.#items.length === 0 ? this.#openText("message") : [];
    return [...opened, ...this.#closeAll(this.#status === "completed" ? "completed" : "incomplete")];
  }

  #itemId(kind: "msg" | "rs" | "fc"): string {
    return itemIdOf(kind, this.#frame.id, this.#items.length);
  }

  #begin(item: OutputItem): void {
    this.#items.push(item);
    this.#open = { item, pieces: [], logprobs: [] };
  }

  #closeAll(status: ItemStatus): StreamEvent[] {
    const events = this.#close(status);
    const held = this.#heldText;
    this.#heldText = [];
    return [...events, ...held.flatMap((event) => this.#textPiece(event)), ...this.#close(status)];
  }

  #close(status: ItemStatus): StreamEvent[] {
    if (this.#open === null) return [];
    const { item, pieces, logprobs } = this.#open;
    this.#open = null;
    const index = this.#items.length - 1;
    const text = pieces.join("");
    const { whole, events } = wholeItem(item, status, text, logprobs, index);
    this.#items[index] = whole;
    return [...events, { type: "response.output_item.done", output_index: index, item: whole }];
  }
}

/** The item with all of its text, and the events that say so. */
function wholeItem(
  item: OutputItem,
  status: ItemStatus,
  text: string,
  logprobs: LogprobEntry[],
  index: number,
): { whole: OutputItem; events: StreamEvent[] } {
  const place = { item_id: item.id, output_index: index };
  const partPlace = { ...place, content_index: CONTENT_INDEX };
  switch (item.type) {
    case "message": {
      const part = textPart(text, logprobs);
      return {
        whole: { ...item, status, content: [part] },
        events: [
          { type: "response.output_text.done", ...partPlace, text, logprobs },
          { type: "response.content_part.done", ...partPlace, part },
        ],
      };
    }
    case "reasoning": {
      const part = { type: "reasoning_text" as const, text };
      return {
        whole: { ...item, status, content: [part] },
        events: [
          { type: "response.reasoning_text.done", ...partPlace, text },
          { type: "response.content_part.done", ...partPlace, part },
        ],
      };
    }
    case "function_call":
      return {
        whole: { ...item, status, arguments: text },
        events: [{ type: "response.function_call_arguments.done", ...place, name: item.name, arguments: text }],
      };
  }
}

function textPart(text: string, logprobs: LogprobEntry[]): OutputText {
  return { type: "output_text", text, annotations: [], logprobs };
}

function logprobEntries(tokens: TokenLogprob[] | null): LogprobEntry[] {
  return chatLogprobs(tokens)?.content ?? [];
}

function errorCode({ status }: ApiError): ResponseError["code"] {
  if (status === 429) return "rate_limit_exceeded";
  return status < 500 ? "invalid_prompt" : "server_error";
}
