/**
 * A model whose engine is another process: requests go there, and each answer's events are kept here until its reader
 * takes them. When the engine is lost all answers fail with a 503 that says so, after what had arrived of them.
 */
import type { Clock } from "../api/clock.ts";
import type { EventStream } from "../api/model-service.ts";
import type { Embeddings, EmbedRequest } from "../protocol/embed.ts";
import { ApiError, clientClosedRequest, overloaded, readerTooSlow, unavailable } from "../protocol/errors.ts";
import type { GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import type { Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest } from "../protocol/tokenize.ts";
import { EventQueue } from "../serving/event-queue.ts";
import { heapBytes } from "../serving/event-size.ts";
import type { EngineConfig, EngineResult, FromEngine, ToEngine } from "./messages.ts";
import type { ModelMeter, RequestMeter } from "./meters.ts";
import { type SpawnEngine, Supervisor, type SupervisorLimits } from "./supervisor.ts";

type Question<T> = T extends { id: number } ? Omit<T, "id"> : never;
/** What is answered by one message. */
type EngineQuestion = Question<Extract<ToEngine, { type: "embed" | "tokenize" | "detokenize" }>>;

const UNREAD_BYTES_MAX = 16 * 1024 * 1024;

export interface RemoteModelOptions {
  config: EngineConfig;
  spawn: SpawnEngine;
  clock: Clock;
  limits: SupervisorLimits;
  /** What one reader may leave unread. Default: some 60,000 tokens, or 4,000 with twenty alternatives each. */
  unreadBytesMax?: number;
  meter: ModelMeter;
  log: (line: string) => void;
}

interface OpenAnswer {
  readonly id: number;
  readonly meter: RequestMeter;
  readonly admitted: PromiseWithResolvers<void>;
  readonly events: EventQueue<GenerateEvent>;
  heldBytes: number;
  /** Nothing more will come. */
  hasEnded: boolean;
  /** Thrown when the events are read. */
  error: ApiError | null;
  /** Of a reader that waits. */
  wake: () => void;
}

export class RemoteModel {
  readonly id: string;
  readonly supervisor: Supervisor;
  readonly #options: RemoteModelOptions;
  /** Those that the engine works on. */
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
    const { meter, config } = this.#options;
    const answer: OpenAnswer = {
      id: this.#nextId++,
      meter: meter.arrived(request),
      admitted: Promise.withResolvers(),
      events: new EventQueue(),
      heldBytes: 0,
      hasEnded: false,
      error: null,
      wake: () => {},
    };
    if (supervisor.phase !== "ready") {
      this.#refuse(answer, unavailable(`The engine of '${this.id}' is starting. Retry.`, supervisor.retryAfterS));
    } else if (this.#open.size >= supervisor.report!.requestsMax) {
      // The engine counts sequences and would say so itself, unless it is the reason why so many wait.
      this.#refuse(answer, overloaded(config.waitingMax, config.waitingMax));
    } else {
      this.#open.set(answer.id, answer);
      supervisor.send({ type: "generate", id: answer.id, request });
    }
    await answer.admitted.promise;
    return { next: () => this.#next(answer), cancel: () => this.#cancel(answer) };
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
    for (const answer of this.#open.values()) {
      if (this.supervisor.phase === "ready") this.supervisor.send({ type: "abort", id: answer.id });
      this.#fail(answer, error);
    }
  }

  #hear(message: FromEngine): void {
    const { meter } = this.#options;
    if (message.type === "ready") meter.engineReady(message.state);
    if ("state" in message && message.state !== null) meter.engineState(message.state);
    if (message.type === "admitted") this.#open.get(message.id)?.admitted.resolve();
    if (message.type === "result") this.#asked.get(message.id)?.resolve(message.result);
    if (message.type === "refused") {
      this.#asked.get(message.id)?.reject(new ApiError(message.error));
      const answer = this.#open.get(message.id);
      if (answer !== undefined) this.#refuse(answer, new ApiError(message.error));
    }
    if (message.type !== "answers") return;
    for (const [id, events] of message.answers) {
      const answer = this.#open.get(id);
      if (answer !== undefined) this.#take(answer, events);
    }
  }

  #take(answer: OpenAnswer, events: readonly GenerateEvent[]): void {
    for (const event of events) {
      answer.meter.observe(event);
      answer.events.push(event);
      answer.heldBytes += heapBytes(event);
      if (event.type === "done" || event.type === "error") this.#close(answer);
    }
    const { unreadBytesMax = UNREAD_BYTES_MAX } = this.#options;
    if (!answer.hasEnded && answer.heldBytes > unreadBytesMax) {
      this.supervisor.send({ type: "abort", id: answer.id });
      this.#fail(answer, readerTooSlow(answer.heldBytes, unreadBytesMax));
    }
    answer.wake();
  }

  async #next(answer: OpenAnswer): Promise<GenerateEvent | null> {
    while (answer.events.length === 0 && !answer.hasEnded) {
      await new Promise<void>((resolve) => (answer.wake = resolve));
    }
    const event = answer.events.shift();
    if (event !== null) {
      answer.heldBytes -= heapBytes(event);
      return event;
    }
    const { error } = answer;
    answer.error = null;
    if (error !== null) throw error;
    return null;
  }

  #cancel(answer: OpenAnswer): void {
    if (answer.hasEnded) return;
    this.supervisor.send({ type: "abort", id: answer.id });
    answer.meter.aborted();
    answer.events.clear();
    this.#close(answer);
    answer.wake();
  }

  #lose(): void {
    this.#options.meter.engineLost();
    const error = unavailable(
      `The engine of '${this.id}' failed in the middle of this answer and starts again. Send the request once more.`,
      this.supervisor.retryAfterS,
    );
    for (const answer of this.#open.values()) this.#fail(answer, error);
    for (const asked of this.#asked.values()) asked.reject(error);
  }

  #refuse(answer: OpenAnswer, error: ApiError): void {
    answer.meter.refused(error);
    this.#close(answer);
    answer.admitted.reject(error);
  }

  /** Whether its client has an answer's head already or not, it hears of it. */
  #fail(answer: OpenAnswer, error: ApiError): void {
    answer.meter.failed(error);
    answer.error = error;
    this.#close(answer);
    answer.admitted.reject(error);
    answer.wake();
  }

  #close(answer: OpenAnswer): void {
    answer.hasEnded = true;
    this.#open.delete(answer.id);
  }
}
