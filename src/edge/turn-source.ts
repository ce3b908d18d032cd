/**
 * What makes the events of a session's turn: the isolate's engine (`engine-turn-source.ts`) or an origin
 * (`origins/origin-turn-source.ts`). A turn knows no more of either. One that goes on after a fault gives all events
 * once more, those that are known first.
 */
import type { GenerateEvent } from "../protocol/generate.ts";
import type { Transcript } from "../serving/language-model.ts";
import type { CpuBudget } from "./cpu-budget.ts";

export interface TurnGeneration {
  /** 0 where that is not known yet. */
  readonly numPromptTokens: number;
  /** The next event if one is there already. */
  poll(): GenerateEvent | null;
  /** Safe any number of times. */
  abort(): void;
  /** For the next turn's prompt; null where nobody knows the tokens. */
  transcript(): Transcript | null;
}

export interface TurnSource {
  /** Name of the model that answers. */
  readonly model: string;
  readonly generation: TurnGeneration;
  /** See `TurnHost`. */
  nextEvents(budget: CpuBudget): Promise<GenerateEvent[]>;
  /** Text and events so far are stored. @param isLast of this invocation */
  checkpointed(isLast: boolean): void;
  /** The answer is stored. */
  ended(transcript: Transcript): void;
}
