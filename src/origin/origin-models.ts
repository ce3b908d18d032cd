/** The models of this origin as the routes see them, and the end of their service: first nobody is let in, then all go. */
import type { EventStream, ModelInfo, ModelService } from "../api/model-service.ts";
import type { Embeddings, EmbedRequest } from "../protocol/embed.ts";
import { modelNotFound, unavailable } from "../protocol/errors.ts";
import type { GenerateRequest } from "../protocol/generate.ts";
import type { Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest } from "../protocol/tokenize.ts";
import type { EngineReport } from "./messages.ts";
import type { RemoteModel } from "./remote-model.ts";

/** Another replica, or the next process here, is there by then. */
const DRAINING_RETRY_S = 5;
const IDLE_CHECK_MS = 20;

export class OriginModels implements ModelService {
  readonly #models: readonly RemoteModel[];
  readonly #byName: ReadonlyMap<string, RemoteModel>;
  #isDraining = false;

  constructor(models: readonly RemoteModel[]) {
    this.#models = models;
    this.#byName = new Map(models.flatMap((model) => model.names.map((name) => [name, model])));
  }

  /** Those that have been ready, each with its adapters behind it. */
  async models(): Promise<ModelInfo[]> {
    return this.#models.flatMap(({ supervisor: { report } }) =>
      report === null ? [] : [report.info, ...report.adapters],
    );
  }

  async generate(request: GenerateRequest): Promise<EventStream> {
    return this.#named(request.model).generate(request);
  }

  #named(name: string): RemoteModel {
    if (this.#isDraining)
      throw unavailable("This server is shutting down. Retry, it may be another one.", DRAINING_RETRY_S);
    const model = this.#byName.get(name);
    if (model === undefined) throw modelNotFound(name, [...this.#byName.keys()]);
    return model;
  }

  async embed(request: EmbedRequest, _key: string | null, signal?: AbortSignal | null): Promise<Embeddings> {
    return this.#named(request.model).embed(request, signal);
  }

  async tokenize(request: TokenizeRequest): Promise<Tokenized> {
    return this.#named(request.model).tokenize(request);
  }

  async detokenize(request: DetokenizeRequest): Promise<Detokenized> {
    return this.#named(request.model).detokenize(request);
  }

  /** Ready when every model is, so that a balancer sends nothing here that this origin could not answer. */
  async ready(): Promise<{ ready: boolean; detail: Record<string, unknown> }> {
    const models = this.#models.map(({ id, numOpen, supervisor }) => {
      const { phase, numRestarts, report } = supervisor;
      return { id, state: phase, numOpen, numRestarts, ...(report && summaryOf(report)) };
    });
    const isReady = !this.#isDraining && models.every(({ state }) => state === "ready");
    return { ready: isReady, detail: { draining: this.#isDraining, models } };
  }

  /** Lets nobody in any more, and waits for those who are answered: at most so long, then they are told. */
  async drain(maxMs: number): Promise<void> {
    this.#isDraining = true;
    const deadlineMs = performance.now() + maxMs;
    const isIdle = () => this.#models.every(({ numOpen }) => numOpen === 0);
    while (!isIdle() && performance.now() < deadlineMs) {
      await new Promise((resolve) => setTimeout(resolve, IDLE_CHECK_MS));
    }
    const error = unavailable(
      "This server shut down before the answer was complete. Send the request once more.",
      DRAINING_RETRY_S,
    );
    for (const model of this.#models) model.failAll(error);
  }

  /** Resolves when no engine is left. */
  async stop(): Promise<void> {
    await Promise.all(this.#models.map(({ supervisor }) => supervisor.stop()));
  }
}

function summaryOf({ info, adapters, engine, adapter, memory, kvTokens, loadMs }: EngineReport) {
  const loras = adapters.map(({ id }) => id);
  return { engine, adapter, contextLength: info.contextLength, kvTokens, memory, loadMs, loras };
}
