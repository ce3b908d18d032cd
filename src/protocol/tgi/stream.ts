/**
 * Answers of TGI's POST /generate_stream: an event for each token, the last of which has the whole text and the details,
 * and no mark behind it. What a stream will have been is known only at its end, so a token is written when the next one
 * is there.
 *
 * Clients add up the tokens' texts. A character in several tokens comes with the last one of them, and what a stop string
 * held back with the token before it, so the sum is the text.
 */
import type { StreamEncoder } from "../answer-encoder.ts";
import { apiErrorOf } from "../error-event.ts";
import type { ApiError } from "../errors.ts";
import { EventOrder } from "../event-order.ts";
import type { GenerateEvent, TokenLogprob, Usage } from "../generate.ts";
import { SSE_HEADERS, SSE_PING, sseData } from "../sse.ts";
import { type TgiFinish, type TgiFrame, tgiFinish, tgiToken, topTokens } from "./answer.ts";
import { tgiErrorBody } from "./error-body.ts";

interface PendingToken {
  token: TokenLogprob;
  text: string;
}

/** The answer ended before its first token: an event must have one, and this is none of any vocabulary. */
const NO_TOKEN: TokenLogprob = { id: 0, text: "", bytes: [], logprob: 0, top: [] };

export class TgiStream implements StreamEncoder {
  readonly headers = SSE_HEADERS;
  readonly keepAlive = SSE_PING;
  readonly #frame: TgiFrame;
  readonly #order = new EventOrder(1);
  #pending: PendingToken | null = null;
  /** Tokens written so far. */
  #numTokens = 0;
  #text = "";
  #finish: TgiFinish = "eos_token";

  constructor(frame: TgiFrame) {
    this.#frame = frame;
  }

  encode(event: GenerateEvent): string {
    this.#order.check(event);
    switch (event.type) {
      case "delta":
        return this.#take(event.text, event.tokens ?? []);
      case "finish":
        this.#finish = tgiFinish(event.reason, event.stop);
        return "";
      case "done":
        return this.#last(event.usage);
      case "error":
        return this.fail(apiErrorOf(event));
      default:
        // A plain prompt's answer neither thinks nor calls, and a streamed one echoes nothing.
        return "";
    }
  }

  end(): void {
    this.#order.end();
  }

  fail(error: ApiError): string {
    return sseData(tgiErrorBody(error));
  }

  #take(text: string, tokens: readonly TokenLogprob[]): string {
    this.#text += text;
    if (tokens.length === 0) {
      if (this.#pending !== null) this.#pending.text += text;
      return "";
    }
    const adds = tokens.map((token) => token.text).join("") === text;
    let written = "";
    for (const [i, token] of tokens.entries()) {
      written += this.#write(null);
      const isLast = i === tokens.length - 1;
      this.#pending = { token, text: adds ? token.text : isLast ? text : "" };
    }
    return written;
  }

  #last(usage: Usage): string {
    const { inputs, returnsInputs, seed } = this.#frame;
    this.#pending ??= { token: NO_TOKEN, text: this.#text };
    return this.#write({
      generated_text: returnsInputs ? inputs + this.#text : this.#text,
      details: {
        finish_reason: this.#finish,
        generated_tokens: usage.completionTokens,
        seed,
        input_length: usage.promptTokens,
      },
    });
  }

  /** @param end of the last event; null = others follow */
  #write(end: { generated_text: string; details: object } | null): string {
    if (this.#pending === null) return "";
    const { token, text } = this.#pending;
    return sseData({
      index: ++this.#numTokens,
      token: tgiToken(token, text),
      ...(this.#frame.wantsTop && { top_tokens: topTokens(token) }),
      ...(end ?? { generated_text: null, details: null }),
    });
  }
}
