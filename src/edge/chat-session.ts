/**
 * One conversation: a Durable Object with its history in SQLite. The KV cache of the conversation stays in the isolate's
 * pool under the hashes of its tokens, and in storage for when that is gone, so the next turn prefills only what is new.
 *
 * Invariants:
 *  - one answer at a time; a message that comes meanwhile is refused with 409 or waits, and is not stored until its turn;
 *  - a message is stored only once it is admitted: what the model must refuse (context exceeded) leaves no trace;
 *  - an answer is generated to its end whoever reads it, and what there is of it is kept whatever ends it;
 *  - an answer that a fault cut goes on from what is stored of it as soon as anybody asks for the session, and says what
 *    it would have said: it has its seed, and its tokens are computed again, not drawn.
 */
import { DurableObject } from "cloudflare:workers";
import type { SessionInfo, SessionInit, SessionTurnRequest } from "../api/model-service.ts";
import { ApiError, notFound, sessionBusy, sessionQueueFull, streamGone } from "../protocol/errors.ts";
import type { ChatMessage } from "../protocol/generate.ts";
import { SESSION_QUEUE_MAX, TRUNCATION_ANSWER_TOKENS } from "../protocol/limits.ts";
import type { AnswerFrame } from "../protocol/openai/chunk-stream.ts";
import type { TextGeneration } from "../serving/generation.ts";
import type { Transcript } from "../serving/language-model.ts";
import type { ServedModel } from "../serving/served-model.ts";
import type { Env } from "./env.ts";
import { storedBytes, turnBytes } from "./event-bytes.ts";
import { isolateEngine } from "./isolate-engine.ts";
import type { KvRows } from "./kv-store.ts";
import { modelStore } from "./model-store.ts";
import { capture, type RpcResult, toApiError } from "./rpc-result.ts";
import { SessionKv } from "./session-kv.ts";
import { assertFitsRow, cacheSalt, drawSeed, noSuchMessage, placeQuestion } from "./session-question.ts";
import { type SessionCopy, SessionStore } from "./session-store.ts";
import { admitTruncated, withoutOldest } from "./truncation.ts";
import { eventsFrom, Turn } from "./turn.ts";
import { TurnLog } from "./turn-log.ts";
import { type TurnPlace, TurnQueue } from "./turn-queue.ts";
import { type StoredTurn, TurnStore } from "./turn-store.ts";

/** A turn that comes to a fault so often without a token between is what brings it about. */
const RESTARTS_MAX = 4;
/** How often a reader looks whether a turn that is being admitted has begun. */
const POLL_MS = 10;

export interface TurnBytes {
  bytes: ReadableStream<Uint8Array>;
  turn: number;
  frame: AnswerFrame;
  numTruncated: number;
  hasEnded: boolean;
}

export class ChatSession extends DurableObject<Env> {
  readonly #store: SessionStore;
  readonly #turns: TurnStore;
  readonly #kv: SessionKv;
  readonly #queue = new TurnQueue();
  /** Of whoever is answering. */
  #place: TurnPlace | null = null;
  #turn: Turn | null = null;
  #stopOnStart = false;
  /** Updates of the owner's list, one after another. */
  #publishing: Promise<void> = Promise.resolve();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new SessionStore(ctx.storage);
    this.#turns = new TurnStore(ctx.storage);
    this.#kv = new SessionKv(ctx, env, () => this.#store.exists());
    isolateEngine.ownerRestarted(ctx.id.toString());
    if (!this.#store.exists()) return;
    this.#store.prepare();
    this.#turns.prepare();
  }

  /** @param copy history to begin with */
  async create(
    id: string,
    init: SessionInit,
    owner: string | null,
    copy: SessionCopy | null = null,
  ): Promise<RpcResult<SessionInfo>> {
    return capture(id, async () => {
      assertFitsRow(init.system ?? "", "system");
      const nowMs = Date.now();
      const { model, title, system } = init;
      this.ctx.storage.transactionSync(() => {
        this.#store.create({ id, owner, model, title, createdAtMs: nowMs, updatedAtMs: nowMs }, system);
        this.#turns.prepare();
        if (copy !== null) this.#store.adopt(copy.messages, copy.transcript);
      });
      if (copy !== null) await this.#kv.adopt(copy.from, copy.transcript?.tokens.length ?? 0);
      await this.#publish();
      return this.#info();
    });
  }

  /** A message of its KV cache, for a fork. */
  kvRows(fromIndex: number, numTokens: number): Promise<KvRows | null> {
    return this.#kv.rows(fromIndex, numTokens);
  }

  async get(id: string): Promise<RpcResult<SessionInfo>> {
    return capture(id, () => {
      this.#assertExists(id);
      this.#wakeTurn(id);
      return this.#info();
    });
  }

  async send(id: string, request: SessionTurnRequest): Promise<RpcResult<TurnBytes>> {
    return capture(request.request.requestId, async () => {
      this.#assertExists(id);
      // An answer that a fault cut comes first.
      this.#wakeTurn(id);
      if (this.#queue.isTaken && !request.waitsForTurn) throw sessionBusy(id);
      if (this.#queue.numWaiting >= SESSION_QUEUE_MAX) throw sessionQueueFull(id, SESSION_QUEUE_MAX);
      return this.#inTurn(() => this.#begin(id, request));
    });
  }

  /**
   * @param turn null = the running one
   * @param position events that the reader has
   * @returns null where no turn runs and none was named
   */
  async stream(id: string, turn: number | null, position: number): Promise<RpcResult<TurnBytes | null>> {
    return capture(id, async () => {
      await this.#untilStarted(id, turn);
      const last = this.#turns.last();
      if (turn !== null && last?.answerId !== turn) throw streamGone(turn, last?.answerId ?? null);
      if (last === null || (turn === null && this.#turn === null)) return null;
      return this.#bytesOf(last, position);
    });
  }

  async stop(id: string): Promise<RpcResult<boolean>> {
    return capture(id, () => {
      this.#assertExists(id);
      if (!this.#busy()) return false;
      if (this.#turn !== null) this.#turn.stop();
      else if (this.#queue.isTaken) this.#stopOnStart = true;
      else this.#giveUp();
      return true;
    });
  }

  /** @param messageId the last message of the copy; null = all */
  async copy(id: string, messageId: number | null): Promise<RpcResult<SessionCopy>> {
    return capture(id, () => {
      this.#assertExists(id);
      this.#wakeTurn(id);
      const all = this.#store.messages();
      const end = messageId === null ? all.length : all.findIndex((message) => message.id === messageId) + 1;
      if (messageId !== null && end === 0) throw noSuchMessage(messageId);
      const messages = all.slice(0, end);
      if (messages.at(-1)?.finishReason === "pending") throw sessionBusy(id);
      const lastId = messages.at(-1)?.id ?? 0;
      const { model, title } = this.#store.record();
      return { from: id, model, title, messages, transcript: this.#store.transcript(lastId + 1) };
    });
  }

  async delete(id: string): Promise<RpcResult<null>> {
    return capture(id, async () => {
      this.#assertExists(id);
      const { owner } = this.#store.record();
      this.#turn?.discard();
      this.#turn = null;
      // Before the await: from here on the session is gone for everybody, and no late update can list it again.
      const deleted = this.ctx.storage.deleteAll();
      this.#place?.pass();
      await this.#publishing;
      if (owner !== null) await this.env.SESSION_DIRECTORY.getByName(owner).remove(id);
      await deleted;
      return null;
    });
  }

  override async alarm(): Promise<void> {
    await this.#kv.expire();
  }

  /** Begins a turn when it is its turn; the place is passed on at the end of it, or here where none began. */
  async #inTurn<T>(begin: () => Promise<T>): Promise<T> {
    const place = await this.#queue.take();
    this.#place = place;
    this.#stopOnStart = false;
    try {
      return await begin();
    } finally {
      if (this.#turn === null) place.pass();
    }
  }

  async #begin(id: string, { question, request, frame, truncates }: SessionTurnRequest): Promise<TurnBytes> {
    this.#assertExists(id); // It may have been deleted while this one waited.
    if (question.kind !== "regenerate") assertFitsRow(question.content, "content");
    const { model: modelId } = this.#store.record();
    const { key: modelKey } = await modelStore.find(this.env, modelId);
    const model = await isolateEngine.acquire(this.env, modelId);
    this.#assertExists(id); // Or while the model was loading.
    const { history, content, replaces } = placeQuestion(question, this.#store.messages());
    const messages = [...history.map(({ role, content }) => ({ role, content })), { role: "user" as const, content }];
    const seeded = { ...request, sampling: { ...request.sampling, seed: request.sampling.seed ?? drawSeed() } };
    const admit = (numTruncated: number) =>
      this.#admit(model, seeded, withoutOldest(messages, numTruncated), this.#store.transcript(replaces), []);
    const { admitted: generation, numTruncated } = truncates
      ? admitTruncated({
          messages,
          contextLength: model.contextLength,
          numAnswer: request.maxTokens ?? Math.min(TRUNCATION_ANSWER_TOKENS, model.contextLength >> 1),
          numTruncatedBefore: this.#turns.last()?.numTruncated ?? 0,
          admit,
        })
      : { admitted: admit(0), numTruncated: 0 };
    try {
      const turn = this.ctx.storage.transactionSync(() => {
        this.#giveUp();
        const answerId = this.#store.beginTurn(content, Date.now(), replaces);
        const stored = { answerId, modelKey, request: seeded, frame, numTruncated };
        this.#turns.begin(stored);
        return { ...stored, numRestarts: 0 };
      });
      this.#run(model, generation, turn, new TurnLog());
      return this.#bytesOf(turn, 0);
    } catch (cause) {
      generation.abort();
      throw cause;
    }
  }

  /** Until the turn runs that is being admitted or begun again, if it is the one that is asked for. */
  async #untilStarted(id: string, turn: number | null): Promise<void> {
    for (;;) {
      this.#assertExists(id);
      await this.#continueTurn(id);
      this.#assertExists(id);
      const isAsked = turn === null || turn === this.#store.pendingAnswerId();
      if (this.#turn !== null || !this.#queue.isTaken || !isAsked) return;
      await scheduler.wait(POLL_MS);
    }
  }

  /** `#continueTurn` for who does not wait for it. */
  #wakeTurn(id: string): void {
    this.ctx.waitUntil(this.#continueTurn(id).catch((cause) => void toApiError(id, cause)));
  }

  /** Goes on with a turn that a fault cut, unless it runs. Where that can never be, its partial answer is the whole. */
  async #continueTurn(id: string): Promise<void> {
    if (this.#queue.isTaken || this.#store.pendingAnswerId() === null) return;
    await this.#inTurn(async () => {
      try {
        await this.#restart(id);
      } catch (cause) {
        if (!(cause instanceof ApiError) || cause.status === 429 || cause.status >= 500) throw cause;
        if (this.#store.exists()) this.#giveUp();
      }
    });
  }

  async #restart(id: string): Promise<void> {
    const turn = this.#turns.last();
    const answerId = this.#store.pendingAnswerId();
    if (turn === null || turn.answerId !== answerId) return this.#giveUp(); // Of a version that kept no events.
    const modelId = this.#store.record().model;
    const { key } = await modelStore.find(this.env, modelId);
    const model = await isolateEngine.acquire(this.env, modelId);
    this.#assertExists(id);
    if (key !== turn.modelKey || turn.numRestarts === RESTARTS_MAX || this.#stopOnStart) return this.#giveUp();
    this.#turns.countRestart();
    const log = new TurnLog(this.#turns.events());
    const history = this.#store.messages().filter((message) => message.id < answerId);
    const messages = history.map(({ role, content }) => ({ role, content }));
    const generation = this.#admit(
      model,
      turn.request,
      withoutOldest(messages, turn.numTruncated),
      this.#store.transcript(answerId),
      log.generatedTokens(),
    );
    this.#run(model, generation, turn, log);
  }

  /** @throws ApiError for whatever the model refuses */
  #admit(
    model: ServedModel,
    request: SessionTurnRequest["request"],
    messages: ChatMessage[],
    transcript: Transcript | null,
    generatedTokens: readonly number[],
  ): TextGeneration {
    return isolateEngine.generate(
      this.ctx.id.toString(),
      model,
      {
        ...request,
        model: model.id,
        prompts: [{ kind: "chat", messages }],
        n: 1,
        echo: false,
        cacheSalt: this.#salt(),
      },
      { generatedTokens, ...(transcript !== null && { transcript }), ...this.#kv.beginTurn(model) },
    );
  }

  #run(model: ServedModel, generation: TextGeneration, { answerId, request }: StoredTurn, log: TurnLog): void {
    const place = this.#place;
    const salt = this.#salt();
    const turn = new Turn(
      generation,
      {
        model: model.id,
        sink: {
          checkpoint: (text, events) => {
            this.#store.checkpoint(answerId, text);
            this.#turns.append(events);
            this.#kv.checkpoint(model, salt, () => generation.transcript().tokens);
          },
          ended: (text, reason, ids, events) => {
            this.#turn = null;
            // Whoever waits goes on only when all of this is done.
            place?.pass();
            this.ctx.storage.transactionSync(() => {
              this.#store.endTurn(answerId, text, reason, ids, Date.now());
              this.#turns.append(events);
            });
            if (ids !== null) this.#kv.save(model, salt, ids.tokens);
            this.ctx.waitUntil(this.#publish());
          },
        },
        nextEvents: () => isolateEngine.nextEvents(this.env, model, generation),
        describe: (cause) => toApiError(request.requestId, cause),
        nowMs: () => Date.now(),
      },
      log,
    );
    this.#turn = turn;
    if (this.#stopOnStart) turn.stop();
    // Keeps the object alive until the answer is whole, for up to 15 minutes, with or without a reader.
    this.ctx.waitUntil(turn.run());
    this.ctx.waitUntil(this.#publish());
  }

  /** An answer that a fault cut stays as it is, marked "abort", and so do its events. */
  #giveUp(): void {
    const answerId = this.#store.pendingAnswerId();
    if (answerId === null) return;
    this.ctx.storage.transactionSync(() => {
      const isLogged = this.#turns.last()?.answerId === answerId;
      const log = new TurnLog(isLogged ? this.#turns.events() : []);
      const ended = log.abortEvents(this.#store.record().model, 0, { queueMs: 0, ttftMs: 0, totalMs: 0 });
      if (isLogged) this.#turns.append(ended);
      this.#store.markAborted(answerId, Date.now());
    });
  }

  #bytesOf({ answerId, frame, numTruncated }: StoredTurn, position: number): TurnBytes {
    const turn = this.#turn;
    const bytes = turn === null ? storedBytes(eventsFrom(this.#turns.events(), position)) : turnBytes(turn, position);
    return { bytes, turn: answerId, frame, numTruncated, hasEnded: turn === null };
  }

  #salt(): string {
    const { id, owner } = this.#store.record();
    return cacheSalt(id, owner);
  }

  #info(): SessionInfo {
    const numTruncated = this.#turns.last()?.numTruncated ?? 0;
    return { ...this.#store.summary(), messages: this.#store.messages(), busy: this.#busy(), numTruncated };
  }

  #busy(): boolean {
    return this.#queue.isTaken || this.#store.pendingAnswerId() !== null;
  }

  #assertExists(id: string): void {
    if (!this.#store.exists()) throw notFound(`The session '${id}'`);
  }

  /** Brings the owner's list up to date. The list is a convenience: its failure is logged and harms no answer. */
  #publish(): Promise<void> {
    this.#publishing = this.#publishing.then(async () => {
      try {
        const owner = this.#store.exists() ? this.#store.record().owner : null;
        if (owner === null) return;
        await this.env.SESSION_DIRECTORY.getByName(owner).put(this.#store.summary());
      } catch (cause) {
        console.error("The list of sessions could not be updated:", cause);
      }
    });
    return this.#publishing;
  }
}
