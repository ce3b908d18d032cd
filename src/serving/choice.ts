/**
 * The text of one choice: sampled ids in, `delta` and `finish` events out.
 *
 * A token is handed out together with the first text that reaches it: while its character is incomplete or its text may
 * still turn out to be a stop string, it waits. So the tokens of a delta always belong to text that was given out, text
 * cut off by a stop string takes its tokens with it, and the deltas add up to the whole, however they are read.
 */
import type { GenerateEvent, TokenLogprob } from "../protocol/generate.ts";
import { StopMatcher } from "../text/stop-strings.ts";
import type { Detokenizer, Tokenizer } from "../text/tokenizer.ts";
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
  emit: (event: GenerateEvent) => void;
}

/** A token whose text is not given out yet. Offsets are UTF-16 units of this choice's text. */
interface HeldToken {
  id: number;
  start: number;
  logprob: TokenLogprob | null;
}

export class Choice {
  /** Text given out so far. */
  text = "";
  /** Every sampled token, the ending one included. */
  numTokens = 0;
  readonly #options: ChoiceOptions;
  readonly #detokenizer: Detokenizer;
  readonly #stops: StopMatcher;
  #held: HeldToken[] = [];
  /** Length of all text known, given out or not. */
  #numKnown = 0;
  /** The stop string that cut the text. */
  #cutBy: string | null = null;
  /** The end-of-generation or stop token that ended it. */
  #endToken: number | null = null;
  #isFinished = false;

  constructor(options: ChoiceOptions) {
    this.#options = options;
    this.#detokenizer = options.tokenizer.detokenizer();
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
    // What is left of the tokens has no text of its own (control tokens at the end).
    if (this.#cutBy === null && this.#held.length > 0) this.#emitDelta("", this.#held.splice(0));
    this.#isFinished = true;
    const { index, emit, stopTokenIds } = this.#options;
    const stopId = this.#endToken !== null && stopTokenIds.has(this.#endToken) ? this.#endToken : null;
    emit({
      type: "finish",
      index,
      reason: this.#cutBy === null ? reason : "stop",
      stop: this.#cutBy ?? stopId,
    });
  }

  #release({ text, stop }: { text: string; stop: string | null }): void {
    this.#cutBy = stop;
    if (text === "") return;
    const numGiven = this.text.length + text.length;
    let numReached = 0;
    while (numReached < this.#held.length && this.#held[numReached]!.start < numGiven) numReached++;
    this.#emitDelta(text, this.#held.splice(0, numReached));
  }

  #emitDelta(text: string, held: HeldToken[]): void {
    const { index, numLogprobs, emit } = this.#options;
    this.text += text;
    const tokenIds = held.map((token) => token.id);
    const tokens = numLogprobs === null ? null : held.map((token) => token.logprob!);
    emit({ type: "delta", index, text, tokenIds, tokens });
  }
}
