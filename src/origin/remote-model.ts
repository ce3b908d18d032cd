/**
 * A model whose engine is another process: requests go there, and each answer's events are kept here until its reader
 * takes them. When the engine is lost the next one goes on with what was running (`Recovery`); what it cannot go on with
 * fails with an error that says so, after what had arrived of it.
 */
import type { Clock } from "../api/clock.ts";
import type { EventStream } from "../api/model-service.ts";
import type { Embeddings, EmbedRequest } from "../protocol/embed.ts";
import {
  ApiError,
  clientClosedRequest,
  engineFailed,
  overloaded,
  readerTooSlow,
  unavailable,
} from "../protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import type { Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest } from "../protocol/tokenize.ts";
import type { EngineConfig, EngineResult, FromEngine, ToEngine } from "./messages.ts";
import type { ModelMeter } from "./meters.ts";
import { OpenAnswer } from "./open-answer.ts";
import { Recovery, type RecoveryLimits } from "./recovery.ts";
import { type SpawnEngine, Supervisor, type SupervisorLimits } from "./supervisor.ts";

type Question<T> = T extends { id: number } ? Omit<T, "id"> : never;
/** What is answered by one message. */
type EngineQuestion = Question<Extract<ToEngine, { type: "embed" | "tokenize" | "detokenize" }>>;

const UNREAD_BYTES_MAX = 16 * 1024 * 1024;

export interface RemoteModelOptions {
  config: EngineConfig;
  spawn: SpawnEngine;
  clock: Clock;
  limits: SupervisorLimits & RecoveryLimits;
  /** Seeds of requests that bring none. */
  drawSeed: () => number;
  /** What one reader may leave unread. Default: some 60,000 tokens, or 4,000 with twenty alternatives each. */
  unreadBytesMax?: number;
  meter: ModelMeter;
  log: (line: string) => void;
}

export class RemoteModel {
  readonly id: string;
  readonly supervisor: Supervisor;
  readonly #options: RemoteModelOptions;
  readonly #recovery: Recovery;
  /** Those that have not ended, by their ids. */
  readonly #open = new Map<number, OpenAnswer>();
  /** What is answered by one message. */
  readonly #asked = new Map<number, PromiseWithResolvers<EngineResult>>();
  #nextId = 0;

  constructor(options: RemoteModelOptions) {
    const { config, spawn, clock, limits, log } = options;
    this.id = config.modelId;
    this.#options = options;
    this.supervisor = new Supervisor({
      config,
      spawn,
      clock,
      limits,
      log,
      onMessage: (message) => this.#hear(message),
      onLost: () => this.#lose(),
    });
    this.#recovery = new Recovery({
      clock,
      limits,
      send: (answer) => {
        answer.meter.sentAgain();
        this.supervisor.send(answer.message());
      },
      fail: (answer, why) =>
        this.#fail(answer, why === "losses" ? engineFailed(this.id, answer.numLosses) : this.#lost),
    });
  }

  /** What requests may call it: its own name, and those of its adapters. */
  get names(): string[] {
    return [this.id, ...this.#options.config.adapters.map(({ name }) => name)];
  }

  get numOpen(): number {
    return this.#open.size;
  }

  /**
   * Resolves when the engine has taken the request on.
   *
   * @throws ApiError whatever the model refuses; 429 with a full queue; 503 while there is no engine
   */
  async generate(request: GenerateRequest): Promise<EventStream> {
    const { supervisor } = this;
    const { meter, config, clock, drawSeed } = this.#options;
    const { sampling } = request;
    const answer = new OpenAnswer({
      id: this.#nextId++,
      request: { ...request, sampling: { ...sampling, seed: sampling.seed ?? drawSeed() } },
      meter: meter.arrived(request),
      nowMs: () => clock.nowMs(),
    });
    if (supervisor.phase !== "ready") {
      this.#refuse(answer, unavailable(`The engine of '${this.id}' is starting. Retry.`, supervisor.retryAfterS));
    } else if (this.#open.size >= supervisor.report!.requestsMax) {
      // The engine counts sequences and would say so itself, unless it is the reason why so many wait.
      this.#refuse(answer, overloaded(config.waitingMax, config.waitingMax));
    } else {
      this.#open.set(answer.id, answer);
      supervisor.send(answer.message());
    }
    await answer.admitted;
    return { next: () => answer.next(), cancel: () => this.#cancel(answer) };
  }

  /** @throws ApiError as `generate` */
  async embed(request: EmbedRequest, signal?: AbortSignal | null): Promise<Embeddings> {
    const result = (await this.#ask({ type: "embed", request }, signal)) as EngineResult & { vectors: number[][] };
    return { ...result, vectors: result.vectors.map((vector) => Float32Array.from(vector)) } as Embeddings;
  }

  async tokenize(request: TokenizeRequest): Promise<Tokenized> {
    return (await this.#ask({ type: "tokenize", request })) as Tokenized;
  }

  async detokenize(request: DetokenizeRequest): Promise<Detokenized> {
    return (await this.#ask({ type: "detokenize", request })) as Detokenized;
  }

  async #ask(question: EngineQuestion, signal: AbortSignal | null = null): Promise<EngineResult> {
    const { supervisor } = this;
    if (supervisor.phase !== "ready")
      throw unavailable(`The engine of '${this.id}' is starting. Retry.`, supervisor.retryAfterS);
    const numOpen = this.#asked.size + this.#open.size;
    const { waitingMax } = this.#options.config;
    if (numOpen >= supervisor.report!.requestsMax) throw overloaded(waitingMax, waitingMax);
    const id = this.#nextId++;
    const asked = Promise.withResolvers<EngineResult>();
    const abort = () => {
      if (supervisor.phase === "ready") supervisor.send({ type: "abort", id });
      asked.reject(clientClosedRequest());
    };
    this.#asked.set(id, asked);
    supervisor.send({ ...question, id });
    signal?.addEventListener("abort", abort, { once: true });
    try {
      return await asked.promise;
    } finally {
      signal?.removeEventListener("abort", abort);
      this.#asked.delete(id);
    }
  }

  /** Ends every answer with this error. */
  failAll(error: ApiError): void {
    for (const asked of this.#asked.values()) asked.reject(error);
    for (const answer of [...this.#open.values()]) {
      this.#abort(answer);
      this.#fail(answer, error);
    }
  }

  #hear(message: FromEngine): void {
    const { meter, config } = this.#options;
    if (message.type === "ready") {
      meter.engineReady(message.state, config.kvPrecision);
      this.#recovery.ready();
    }
    if ("state" in message && message.state !== null) meter.engineState(message.state);
    if (message.type === "admitted") this.#open.get(message.id)?.admit();
    if (message.type === "result") this.#asked.get(message.id)?.resolve(message.result);
    if (message.type === "refused") {
      this.#asked.get(message.id)?.reject(new ApiError(message.error));
      const answer = this.#open.get(message.id);
      const error = new ApiError(message.error);
      if (answer?.isAdmitted) this.#fail(answer, error);
      else if (answer !== undefined) this.#refuse(answer, error);
    }
    if (message.type !== "answers") return;
    for (const [id, events] of message.answers) {
      const answer = this.#open.get(id);
      if (answer !== undefined) this.#take(answer, events);
    }
  }

  #take(answer: OpenAnswer, events: readonly GenerateEvent[]): void {
    for (const event of events) {
      const novelty = answer.take(event);
      if (novelty === "differs") {
        this.#abort(answer);
        this.#fail(answer, this.#lost);
        return;
      }
      // That it was admitted once more does not clear it.
      if (novelty === "new" && event.type !== "start") this.#recovery.cleared(answer);
    }
    if (answer.hasEnded) this.#open.delete(answer.id);
    const { unreadBytesMax = UNREAD_BYTES_MAX } = this.#options;
    if (!answer.hasEnded && answer.heldBytes > unreadBytesMax) {
      this.#abort(answer);
      this.#fail(answer, readerTooSlow(answer.heldBytes, unreadBytesMax, "an answer"));
    }
    answer.wakeReader();
  }

  #cancel(answer: OpenAnswer): void {
    if (answer.hasEnded) return;
    this.#abort(answer);
    answer.meter.aborted();
    answer.forget();
    this.#close(answer);
  }

  #lose(): void {
    this.#options.meter.engineLost();
    for (const asked of this.#asked.values()) asked.reject(this.#lost);
    this.#recovery.lost(this.#open.values(), this.supervisor.backInMs);
  }

  /** What an answer ends with that no engine goes on with. */
  get #lost(): ApiError {
    return unavailable(
      `The engine of '${this.id}' failed in the middle of this answer and starts again. Send the request once more.`,
      this.supervisor.retryAfterS,
    );
  }

  /** Where the engine has it. */
  #abort(answer: OpenAnswer): void {
    if (this.supervisor.phase !== "ready" || this.#recovery.isWaiting(answer)) return;
    this.supervisor.send({ type: "abort", id: answer.id });
  }

  #refuse(answer: OpenAnswer, error: ApiError): void {
    answer.meter.refused(error);
    answer.fail(error);
    this.#close(answer);
  }

  #fail(answer: OpenAnswer, error: ApiError): void {
    answer.meter.failed(error);
    answer.fail(error);
    this.#close(answer);
  }

  #close(answer: OpenAnswer): void {
    this.#open.delete(answer.id);
    this.#recovery.cleared(answer);
  }
}
