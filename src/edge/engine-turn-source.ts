/** A turn's generation by the isolate's engine, whose KV cache is stored with the session. */
import type { GenerateEvent } from "../protocol/generate.ts";
import type { TextGeneration } from "../serving/generation.ts";
import type { Transcript } from "../serving/language-model.ts";
import type { ServedModel } from "../serving/served-model.ts";
import type { CpuBudget } from "./cpu-budget.ts";
import type { Env } from "./env.ts";
import { isolateEngine } from "./isolate-engine.ts";
import type { SessionKv } from "./session-kv.ts";
import type { TurnGeneration, TurnSource } from "./turn-source.ts";

export interface EngineTurn {
  env: Env;
  model: ServedModel;
  generation: TextGeneration;
  kv: SessionKv;
  /** Under which the session's blocks are cached. */
  salt: string;
  /** False = the tokens are not those of the session's own model, and nothing is kept of them. */
  keepsTokens: boolean;
}

export class EngineTurnSource implements TurnSource {
  readonly #turn: EngineTurn;

  constructor(turn: EngineTurn) {
    this.#turn = turn;
  }

  get generation(): TurnGeneration {
    const { generation, keepsTokens } = this.#turn;
    if (keepsTokens) return generation;
    const { numPromptTokens } = generation;
    return { numPromptTokens, poll: () => generation.poll(), abort: () => generation.abort(), transcript: () => null };
  }

  get model(): string {
    return this.#turn.model.id;
  }

  nextEvents(budget: CpuBudget): Promise<GenerateEvent[]> {
    const { env, model, generation } = this.#turn;
    return isolateEngine.nextEvents(env, model, generation, budget);
  }

  checkpointed(isLast: boolean): void {
    const { kv, model, salt, generation, keepsTokens } = this.#turn;
    if (!keepsTokens) return;
    const tokens = () => generation.transcript().tokens;
    if (isLast) kv.save(model, salt, tokens());
    else kv.checkpoint(model, salt, tokens);
  }

  ended({ tokens }: Transcript): void {
    const { kv, model, salt } = this.#turn;
    kv.save(model, salt, tokens);
  }
}
