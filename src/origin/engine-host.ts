/**
 * The engine's side of the border: requests come as messages, a loop steps the model while any answer is open, and what
 * came of a step leaves in one message.
 *
 * A step's events are sent while the next step is on the GPU, so that the GPU does not wait for their JSON. With each
 * step the event loop turns: an abort is seen before the next but one is planned, and what it frees is free for that.
 */
import { ApiError, errorFields, internalError } from "../protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import type { TextEmbedding } from "../serving/embedding.ts";
import type { TextGeneration } from "../serving/generation.ts";
import type { ServedModel } from "../serving/served-model.ts";
import type { EngineResult, EngineState, FromEngine, ToEngine } from "./messages.ts";

export interface EngineHostOptions {
  model: ServedModel;
  send: (message: FromEngine) => void;
  /** Milliseconds; only differences count. */
  nowMs: () => number;
  /** Resolves when everything that has arrived meanwhile was handled. */
  nextTurn: () => Promise<unknown>;
  /** What no request is to blame for. */
  log: (what: string, cause: unknown) => void;
}

export class EngineHost {
  readonly #options: EngineHostOptions;
  readonly #open = new Map<number, TextGeneration>();
  readonly #embeddings = new Map<number, TextEmbedding>();
  #newestId = -1;
  #isStepping = false;
  #stepStartedAtMs: number | null = null;

  constructor(options: EngineHostOptions) {
    this.#options = options;
  }

  get state(): EngineState {
    const { model, nowMs } = this.#options;
    const stepMs = this.#stepStartedAtMs === null ? 0 : nowMs() - this.#stepStartedAtMs;
    return { stats: model.stats, stepMs };
  }

  /** @returns a promise while answers are open, which rejects when the model can no longer be stepped */
  handle(message: Exclude<ToEngine, { type: "load" }>): Promise<void> {
    const { model } = this.#options;
    if (message.type === "abort") this.#abort(message.id);
    else {
      const { id, type, request } = message;
      this.#take(id, request.requestId, () => {
        if (type === "generate") this.#generate(id, request);
        else if (type === "embed") this.#embeddings.set(id, model.embed(request));
        else this.#sendResult(id, type === "tokenize" ? model.tokenize(request) : model.detokenize(request));
      });
    }
    return this.#run();
  }

  beat(): void {
    this.#options.send({ type: "beat", state: this.state });
  }

  #take(id: number, requestId: string, begin: () => void): void {
    try {
      begin();
      this.#newestId = id;
    } catch (cause) {
      this.#refuse(id, requestId, cause);
    }
  }

  #generate(id: number, request: GenerateRequest): void {
    const { model, send } = this.#options;
    this.#open.set(id, model.generate(request));
    send({ type: "admitted", id, state: this.state });
  }

  #refuse(id: number, requestId: string, cause: unknown): void {
    const { send, log } = this.#options;
    if (!(cause instanceof ApiError)) log(`Request ${requestId} could not be taken on`, cause);
    const error = cause instanceof ApiError ? cause : internalError(requestId);
    send({ type: "refused", id, error: errorFields(error) });
  }

  #sendResult(id: number, result: EngineResult): void {
    this.#options.send({ type: "result", id, result, state: this.state });
  }

  #abort(id: number): void {
    const aborted = this.#open.get(id) ?? this.#embeddings.get(id);
    if (aborted === undefined) return;
    this.#open.delete(id);
    this.#embeddings.delete(id);
    aborted.abort();
    this.beat();
  }

  async #run(): Promise<void> {
    if (this.#isStepping) return;
    this.#isStepping = true;
    try {
      while (this.#open.size + this.#embeddings.size > 0) {
        for (const embedding of this.#embeddings.values()) embedding.begin();
        this.#stepStartedAtMs = this.#options.nowMs();
        const newestId = this.#newestId;
        const step = this.#options.model.step();
        // A backend hands its work to the GPU a little later than it is asked to.
        await this.#options.nextTurn();
        this.#sendAnswers();
        const isMoved = await step;
        this.#stepStartedAtMs = null;
        if (!isMoved && this.#hasOpenUpTo(newestId))
          throw new Error("Answers are open, but there is nothing to compute.");
      }
    } finally {
      this.#isStepping = false;
      this.#stepStartedAtMs = null;
    }
  }

  #hasOpenUpTo(id: number): boolean {
    return [...this.#open.keys(), ...this.#embeddings.keys()].some((openId) => openId <= id);
  }

  #sendAnswers(): void {
    const answers: [number, GenerateEvent[]][] = [];
    for (const [id, generation] of this.#open) {
      const events: GenerateEvent[] = [];
      for (let event = generation.poll(); event !== null; event = generation.poll()) events.push(event);
      if (events.length > 0) answers.push([id, events]);
      if (generation.isDrained) this.#open.delete(id);
    }
    if (answers.length > 0) this.#options.send({ type: "answers", answers, state: this.state });
    for (const [id, embedding] of this.#embeddings) if (embedding.hasEnded) this.#sendVectors(id, embedding);
  }

  #sendVectors(id: number, embedding: TextEmbedding): void {
    this.#embeddings.delete(id);
    try {
      const result = embedding.result();
      this.#sendResult(id, { ...result, vectors: result.vectors.map((vector) => Array.from(vector)) });
    } catch (cause) {
      this.#refuse(id, embedding.requestId, cause);
    }
  }
}
