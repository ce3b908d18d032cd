/**
 * What a reader has of an answer, for the day that another engine gives it once more. The same request with the same seed
 * has the same events: those of one choice in the same order, whatever comes of other choices between them. So as many
 * of each choice as are known are passed over, after a look at their token ids.
 */
import type { GenerateEvent } from "../protocol/generate.ts";

/** "differs": another engine says something else than what the reader has, as sums in another order may make it. */
export type Novelty = "new" | "known" | "differs";

interface KnownChoice {
  numEvents: number;
  readonly tokenIds: number[];
  hasFinished: boolean;
  hasCalls: boolean;
  /** Of them, how many the engine of now has given. */
  numEventsAgain: number;
  numTokensAgain: number;
}

/** The place of `start` beside the choices. */
const START = -1;

export class KnownEvents {
  readonly #choices = new Map<number, KnownChoice>();

  /**
   * Of a choice, without the last one: that may be what ended it, and a generation must have something left to draw. None
   * where it called tools, whose tokens are in no event: it is computed again then.
   */
  generatedTokens(index: number): number[] {
    const choice = this.#choices.get(index);
    return choice === undefined || choice.hasCalls ? [] : choice.tokenIds.slice(0, -1);
  }

  /** Everything will be given again. */
  beginAgain(): void {
    for (const choice of this.#choices.values()) {
      choice.numEventsAgain = 0;
      choice.numTokensAgain = 0;
    }
  }

  take(event: GenerateEvent): Novelty {
    if (event.type === "done" || event.type === "error") return "new";
    const choice = this.#choiceAt(event.type === "start" ? START : event.index);
    const tokenIds = event.type === "delta" || event.type === "reasoning" ? event.tokenIds : [];
    if (choice.numEventsAgain++ < choice.numEvents) {
      const isSame = tokenIds.every((id) => choice.tokenIds[choice.numTokensAgain++] === id);
      return isSame && (event.type !== "finish" || choice.hasFinished) ? "known" : "differs";
    }
    choice.numEvents++;
    choice.hasCalls ||= event.type === "toolCall";
    // One by one: a spread of many arguments has a limit.
    for (const id of tokenIds) choice.tokenIds.push(id);
    choice.hasFinished = event.type === "finish";
    return "new";
  }

  #choiceAt(index: number): KnownChoice {
    const known = this.#choices.get(index);
    if (known !== undefined) return known;
    const choice: KnownChoice = {
      numEvents: 0,
      tokenIds: [],
      hasFinished: false,
      hasCalls: false,
      numEventsAgain: 0,
      numTokensAgain: 0,
    };
    this.#choices.set(index, choice);
    return choice;
  }
}
