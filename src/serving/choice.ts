/**
 * The text of one choice: sampled ids in; `delta`, `finish` and, where it is read for them, events of thoughts and calls
 * out.
 *
 * A token is handed out together with the first text that reaches it: while its character is incomplete or its text may
 * still turn out to be a stop string, it waits. So the tokens of a delta always belong to text that was given out, text
 * cut off by a stop string takes its tokens with it, and the deltas add up to the whole, however they are read.
 */
import type { FinishReason, GenerateEvent, TokenLogprob } from "../protocol/generate.ts";
import type { AnswerPart } from "../text/answer-reader.ts";
import { StopMatcher } from "../text/stop-strings.ts";
import type { Detokenizer, Tokenizer } from "../text/tokenizer.ts";
import type { Reading } from "./answer-plan.ts";
import type { RowResult } from "./backend.ts";
import { tokenLogprob } from "./token-logprob.ts";

export interface ChoiceOptions {
  index: number;
  tokenizer: Tokenizer;
  stopStrings: readonly string[];
  stopTokenIds: ReadonlySet<number>;
  ignoreEos: boolean;
  /** null = report no logprobs. */
  numLogprobs: number | null;
  /** null = all of its text is words. Default null. */
  reading?: Reading | null;
  emit: (event: GenerateEvent) => void;
}

/** A token whose text is not given out yet. Offsets are UTF-16 units of this choice's text. */
interface HeldToken {
  id: number;
  start: number;
  logprob: TokenLogprob | null;
}

export class Choice {
  /** Words given out so far. */
  text = "";
  /** Every sampled token, the ending one included. */
  numTokens = 0;
  /** Those whose text was given out as thoughts. */
  numReasoningTokens = 0;
  readonly #options: ChoiceOptions;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopMatcher;
  #held: HeldToken[] = [];
  /** Length of all text known, given out or not. */
  #numKnown = 0;
  /** Length of the text that no stop string can change any more. */
  #numReleased = 0;
  #numCalls = 0;
  /** The stop string that cut the text. */
  #cutBy: string | null = null;
  /** The end-of-generation or stop token that ended it. */
  #endToken: number | null = null;
  #isFinished = false;

  constructor(options: ChoiceOptions) {
    this.#options = options;
    const keepControl = options.reading?.markerIds;
    this.#detokenizer = options.tokenizer.detokenizer(keepControl && { keepControl });
    this.#stops = new StopMatcher(options.stopStrings);
  }

  get index(): number {
    return this.#options.index;
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  /** @returns true when this token ends the choice */
  push(row: RowResult): boolean {
    const { tokenizer, stopTokenIds, ignoreEos, numLogprobs } = this.#options;
    const id = row.token;
    this.numTokens++;
    if (stopTokenIds.has(id) || (!ignoreEos && tokenizer.endOfGenerationIds.has(id))) {
      this.#endToken = id;
      return true;
    }
    const piece = this.#detokenizer.push(id);
    const logprob = numLogprobs === null ? null : tokenLogprob(tokenizer, id, row.logprob, row.top);
    this.#held.push({ id, start: this.#numKnown, logprob });
    this.#numKnown += piece.length;
    this.#release(this.#stops.push(piece));
    return this.#cutBy !== null;
  }

  /** Gives out what was held back and ends the choice. */
  finish(reason: "stop" | "length"): void {
    if (this.#cutBy === null) {
      const tail = this.#detokenizer.flush();
      this.#release(this.#stops.push(tail));
      this.#release(this.#stops.flush());
    }
    const { index, emit, numLogprobs, stopTokenIds, reading } = this.#options;
    for (const part of reading?.reader.flush() ?? []) this.#give(part);
    // What is left of the tokens has no text of its own (control tokens at the end).
    if (this.#cutBy === null && this.#held.length > 0 && this.#numCalls === 0) {
      emit({ type: "delta", index, text: "", ...tokensOf(this.#held.splice(0), numLogprobs) });
    }
    this.#isFinished = true;
    const stopId = this.#endToken !== null && stopTokenIds.has(this.#endToken) ? this.#endToken : null;
    emit({
      type: "finish",
      index,
      reason: this.#reasonOf(reason),
      stop: this.#cutBy ?? stopId,
    });
  }

  #reasonOf(reason: "stop" | "length"): FinishReason {
    if (this.#cutBy !== null) return "stop";
    return reason === "stop" && this.#numCalls > 0 ? this.#options.reading!.callsReason : reason;
  }

  #release({ text, stop }: { text: string; stop: string | null }): void {
    this.#cutBy = stop;
    if (text === "") return;
    this.#numReleased += text.length;
    const { reading } = this.#options;
    const parts = reading?.reader.push(text) ?? [{ kind: "text" as const, text, end: this.#numReleased }];
    for (const part of parts) this.#give(part);
  }

  #give(part: AnswerPart): void {
    let numReached = 0;
    while (numReached < this.#held.length && this.#held[numReached]!.start < part.end) numReached++;
    const held = this.#held.splice(0, numReached);
    if (part.kind === "text") this.text += part.text;
    if (part.kind === "reasoning") this.numReasoningTokens += held.length;
    if (part.kind === "call") this.#numCalls++;
    this.#options.emit(this.#eventOf(part, held));
  }

  #eventOf(part: AnswerPart, held: readonly HeldToken[]): GenerateEvent {
    const { index, numLogprobs, reading } = this.#options;
    const call = this.#numCalls - 1;
    switch (part.kind) {
      case "text":
        return { type: "delta", index, text: part.text, ...tokensOf(held, numLogprobs) };
      case "reasoning":
        return { type: "reasoning", index, text: part.text, ...tokensOf(held, numLogprobs) };
      case "call":
        return { type: "toolCall", index, call, id: reading!.callId(call), name: part.name };
      case "arguments":
        return { type: "toolArguments", index, call, text: part.text };
    }
  }
}

function tokensOf(held: readonly HeldToken[], numLogprobs: number | null) {
  const tokens = numLogprobs === null ? null : held.map(({ logprob }) => logprob!);
  return { tokenIds: held.map(({ id }) => id), tokens };
}
