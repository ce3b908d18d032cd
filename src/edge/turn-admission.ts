/**
 * How a session's turn gets its generation: from the question that was asked, or, after a fault, from what is stored of
 * the turn. The model refuses here what it must, and nothing is stored yet.
 */
import type { SessionTurnRequest } from "../api/model-service.ts";
import { drawSeed } from "../api/random-seed.ts";
import { withoutOldest } from "../protocol/conversation-cuts.ts";
import { type ApiError, notFound } from "../protocol/errors.ts";
import type { ChatMessage } from "../protocol/generate.ts";
import { TRUNCATION_ANSWER_TOKENS } from "../protocol/limits.ts";
import type { TextGeneration } from "../serving/generation.ts";
import type { Transcript } from "../serving/language-model.ts";
import type { ServedModel } from "../serving/served-model.ts";
import { EngineTurnSource } from "./engine-turn-source.ts";
import type { Env } from "./env.ts";
import { isolateEngine } from "./isolate-engine.ts";
import { modelStore } from "./model-store.ts";
import type { OriginModel } from "./origins/origin.ts";
import { askOrigin, askOriginAgain } from "./origins/origin-admission.ts";
import { isUnavailability } from "./origins/origin-events.ts";
import { originPool } from "./origins/origin-pool.ts";
import type { SessionKv } from "./session-kv.ts";
import { cacheSalt, placeQuestion } from "./session-question.ts";
import type { SessionStore } from "./session-store.ts";
import { admitTruncated } from "./truncation.ts";
import type { TurnLog } from "./turn-log.ts";
import type { TurnSource } from "./turn-source.ts";
import type { StoredTurn } from "./turn-store.ts";

/**
 * What a stored turn was answered by, besides a model file's key: an origin, whose words depend on no file, or a model of
 * the edge in the place of an origin's.
 */
const BY_ORIGIN = "origin:";
const FALLBACK = "fallback:";

/** null where the session's own model answered. */
export function fallbackModelOf(modelKey: string): string | null {
  return modelKey.startsWith(FALLBACK) ? modelIdOf(modelKey.slice(FALLBACK.length)) : null;
}

/** Of a stored turn: the model that answers, and where. */
export function answererOf(modelKey: string): { model: string; tier: "edge" | "origin" } {
  if (modelKey.startsWith(BY_ORIGIN)) return { model: modelKey.slice(BY_ORIGIN.length), tier: "origin" };
  const isFallback = modelKey.startsWith(FALLBACK);
  return { model: modelIdOf(isFallback ? modelKey.slice(FALLBACK.length) : modelKey), tier: "edge" };
}

export interface AdmittedTurn {
  source: TurnSource;
  content: string;
  /** See `SessionStore.beginTurn`. */
  replaces: number | null;
  /** All of it but the id of its answer. */
  turn: Omit<StoredTurn, "answerId" | "numRestarts">;
}

export class TurnAdmission {
  readonly #objectId: string;
  readonly #env: Env;
  readonly #store: SessionStore;
  readonly #kv: SessionKv;

  constructor(objectId: string, env: Env, store: SessionStore, kv: SessionKv) {
    this.#objectId = objectId;
    this.#env = env;
    this.#store = store;
    this.#kv = kv;
  }

  /** @throws ApiError 404 where the session is gone, also when it went while this one waited for the model */
  assertExists(id: string): void {
    if (!this.#store.exists()) throw notFound(`The session '${id}'`);
  }

  /** Under which the session's blocks are cached. */
  get salt(): string {
    const { id, owner } = this.#store.record();
    return cacheSalt(id, owner);
  }

  /**
   * @param numTruncatedBefore messages that the last turn left out
   * @throws ApiError for whatever the model refuses
   */
  async ask(id: string, asked: SessionTurnRequest, numTruncatedBefore: number): Promise<AdmittedTurn> {
    this.assertExists(id);
    const { model } = this.#store.record();
    const origin = originPool.find(this.#env, model);
    if (origin === null) return this.#askEngine(id, asked, numTruncatedBefore, model, "");
    try {
      return await this.#askOrigin(id, asked, numTruncatedBefore, origin);
    } catch (cause) {
      if (origin.fallback === null || !isUnavailability(cause)) throw cause;
      return this.#askEngine(id, asked, numTruncatedBefore, origin.fallback, FALLBACK);
    }
  }

  /**
   * The same turn once more: what was generated is computed again, the rest is drawn as it would have been.
   *
   * @param log what is known of it
   * @param begins called when the model is there, or is about to be asked
   * @returns null where another model file would go on with other words
   */
  async again(id: string, turn: StoredTurn, log: TurnLog, begins: () => void): Promise<TurnSource | null> {
    this.assertExists(id);
    const history = this.#store.messages().filter((message) => message.id < turn.answerId);
    const messages = history.map(({ role, content }) => ({ role, content }));
    const prompt = withoutOldest(messages, turn.numTruncated);
    if (turn.modelKey.startsWith(BY_ORIGIN)) return this.#askOriginAgain(id, turn, prompt, log, begins);
    const isFallback = turn.modelKey.startsWith(FALLBACK);
    const ownKey = isFallback ? turn.modelKey.slice(FALLBACK.length) : turn.modelKey;
    const { model, modelKey } = await this.#acquire(id, modelIdOf(ownKey));
    if (modelKey !== ownKey) return null;
    begins();
    const transcript = isFallback ? null : this.#store.transcript(turn.answerId);
    return this.#sourceOf(
      model,
      this.#admit(model, turn.request, prompt, transcript, log.generatedTokens()),
      isFallback,
    );
  }

  async #askEngine(
    id: string,
    { question, request, frame, truncates }: SessionTurnRequest,
    numTruncatedBefore: number,
    modelId: string,
    prefix: typeof FALLBACK | "",
  ): Promise<AdmittedTurn> {
    const { model, modelKey } = await this.#acquire(id, modelId);
    const { messages, content, replaces } = this.#placed(question);
    const isFallback = prefix !== "";
    const seeded = { ...request, sampling: { ...request.sampling, seed: request.sampling.seed ?? drawSeed() } };
    const transcript = isFallback ? null : this.#store.transcript(replaces);
    const admit = (numTruncated: number) =>
      this.#admit(model, seeded, withoutOldest(messages, numTruncated), transcript, []);
    const { admitted: generation, numTruncated } = truncates
      ? admitTruncated({
          messages,
          contextLength: model.contextLength,
          numAnswer: request.maxTokens ?? Math.min(TRUNCATION_ANSWER_TOKENS, model.contextLength >> 1),
          numTruncatedBefore,
          admit,
        })
      : { admitted: admit(0), numTruncated: 0 };
    return {
      source: this.#sourceOf(model, generation, isFallback),
      content,
      replaces,
      turn: { modelKey: `${prefix}${modelKey}`, request: seeded, frame, numTruncated },
    };
  }

  async #askOrigin(
    id: string,
    { question, request, frame, truncates }: SessionTurnRequest,
    numTruncatedBefore: number,
    model: OriginModel,
  ): Promise<AdmittedTurn> {
    const { messages, content, replaces } = this.#placed(question);
    const asked = { env: this.#env, model, sessionId: id, salt: this.salt, request, messages };
    const { source, numTruncated } = await askOrigin(asked, truncates, numTruncatedBefore);
    const turn = { modelKey: `${BY_ORIGIN}${model.id}`, request, frame, numTruncated };
    return { source: this.#ofExisting(id, source), content, replaces, turn };
  }

  async #askOriginAgain(
    id: string,
    { modelKey, request }: StoredTurn,
    messages: ChatMessage[],
    log: TurnLog,
    begins: () => void,
  ): Promise<TurnSource | null> {
    const model = originPool.find(this.#env, modelKey.slice(BY_ORIGIN.length));
    if (model === null) return null;
    begins();
    const asked = { env: this.#env, model, sessionId: id, salt: this.salt, request, messages };
    const source = await askOriginAgain(asked, log);
    return source === null ? null : this.#ofExisting(id, source);
  }

  /** The session may have been deleted while the origin was asked. */
  #ofExisting(id: string, source: TurnSource): TurnSource {
    if (!this.#store.exists()) source.generation.abort();
    this.assertExists(id);
    return source;
  }

  #placed(question: SessionTurnRequest["question"]): {
    messages: ChatMessage[];
    content: string;
    replaces: number | null;
  } {
    const { history, content, replaces } = placeQuestion(question, this.#store.messages());
    const messages = [...history.map(({ role, content }) => ({ role, content })), { role: "user" as const, content }];
    return { messages, content, replaces };
  }

  async #acquire(id: string, modelId: string): Promise<{ model: ServedModel; modelKey: string }> {
    const { key: modelKey } = await modelStore.find(this.#env, modelId);
    const model = await isolateEngine.acquire(this.#env, modelId);
    this.assertExists(id); // It may have been deleted while the model was loading.
    return { model, modelKey };
  }

  /** A model in another's place leaves nothing behind: the session's tokens and blocks are its own model's. */
  #sourceOf(model: ServedModel, generation: TextGeneration, isFallback: boolean): TurnSource {
    const source = { env: this.#env, model, generation, kv: this.#kv, salt: this.salt };
    return new EngineTurnSource({ ...source, keepsTokens: !isFallback });
  }

  #admit(
    model: ServedModel,
    request: SessionTurnRequest["request"],
    messages: ChatMessage[],
    transcript: Transcript | null,
    generatedTokens: readonly number[],
  ): TextGeneration {
    return isolateEngine.generate(
      this.#objectId,
      model,
      {
        ...request,
        model: model.id,
        prompts: [{ kind: "chat", messages }],
        n: 1,
        beams: null,
        echo: false,
        cacheSalt: this.salt,
      },
      { generatedTokens, keepsEvents: true, ...(transcript !== null && { transcript }), ...this.#kv.beginTurn(model) },
    );
  }
}

/** Busy, or not there right now. */
export function isPassing({ status }: ApiError): boolean {
  return status === 429 || status === 503;
}

/** Of the key of a model file, "ID@SHA256". */
function modelIdOf(modelKey: string): string {
  return modelKey.slice(0, modelKey.lastIndexOf("@"));
}
