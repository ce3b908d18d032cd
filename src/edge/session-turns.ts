/**
 * The turns of one session: who answers now and who waits, how a turn begins, runs and ends, and how one that a fault cut
 * goes on.
 *
 * Invariants:
 *  - one answer at a time; a message that comes meanwhile is refused with 409 or waits, and is not stored until its turn;
 *  - a message is stored only once it is admitted: what the model must refuse (context exceeded) leaves no trace;
 *  - an answer is generated to its end whoever reads it, and what there is of it is kept whatever ends it;
 *  - an answer that a fault cut goes on from what is stored of it as soon as anybody asks for the session, and says what
 *    it would have said: it has its seed, and its tokens are computed again, not drawn.
 */
import type { SessionTurnRequest } from "../api/model-service.ts";
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
import { modelStore } from "./model-store.ts";
import { toApiError } from "./rpc-result.ts";
import type { SessionKv } from "./session-kv.ts";
import { assertFitsRow, cacheSalt, drawSeed, placeQuestion } from "./session-question.ts";
import type { SessionStore } from "./session-store.ts";
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

/** The session that the turns belong to. */
export interface TurnOwner {
  ctx: DurableObjectState;
  env: Env;
  store: SessionStore;
  kv: SessionKv;
  /** A turn began or ended. */
  changed(): void;
}

export class SessionTurns {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #store: SessionStore;
  readonly #kv: SessionKv;
  readonly #changed: () => void;
  readonly #turns: TurnStore;
  readonly #queue = new TurnQueue();
  /** Of whoever is answering. */
  #place: TurnPlace | null = null;
  #turn: Turn | null = null;
  #stopOnStart = false;

  constructor({ ctx, env, store, kv, changed }: TurnOwner) {
    this.#ctx = ctx;
    this.#env = env;
    this.#store = store;
    this.#kv = kv;
    this.#changed = changed;
    this.#turns = new TurnStore(ctx.storage);
  }

  /** Makes the tables. Only for a session that exists. */
  prepare(): void {
    this.#turns.prepare();
  }

  get isBusy(): boolean {
    return this.#queue.isTaken || this.#store.pendingAnswerId() !== null;
  }

  /** Messages of the history that the last turn left out. */
  get numTruncated(): number {
    return this.#turns.last()?.numTruncated ?? 0;
  }

  /** @throws ApiError 409 where another one answers and the request does not wait, or too many wait */
  async send(id: string, request: SessionTurnRequest): Promise<TurnBytes> {
    // An answer that a fault cut comes first.
    this.wake(id);
    if (this.#queue.isTaken && !request.waitsForTurn) throw sessionBusy(id);
    if (this.#queue.numWaiting >= SESSION_QUEUE_MAX) throw sessionQueueFull(id, SESSION_QUEUE_MAX);
    return this.#inTurn(() => this.#begin(id, request));
  }

  /** See `ChatSession.stream`. */
  async stream(id: string, turn: number | null, position: number): Promise<TurnBytes | null> {
    await this.#untilStarted(id, turn);
    const last = this.#turns.last();
    if (turn !== null && last?.answerId !== turn) throw streamGone(turn, last?.answerId ?? null);
    if (last === null || (turn === null && this.#turn === null)) return null;
    return this.#bytesOf(last, position);
  }

  /** @returns false where nothing is being answered */
  stop(): boolean {
    if (!this.isBusy) return false;
    if (this.#turn !== null) this.#turn.stop();
    else if (this.#queue.isTaken) this.#stopOnStart = true;
    else this.#giveUp();
    return true;
  }

  /** The session is deleted: its readers see the end, and storage is left alone. */
  discard(): void {
    this.#turn?.discard();
    this.#turn = null;
  }

  /** After `discard`: whoever waits is told that the session is gone. */
  passOn(): void {
    this.#place?.pass();
  }

  /** Goes on with a turn that a fault cut, for who does not wait for it. */
  wake(id: string): void {
    this.#ctx.waitUntil(this.#continueTurn(id).catch((cause) => void toApiError(id, cause)));
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
    const { key: modelKey } = await modelStore.find(this.#env, modelId);
    const model = await isolateEngine.acquire(this.#env, modelId);
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
      const turn = this.#ctx.storage.transactionSync(() => {
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
    const { model: modelId } = this.#store.record();
    const { key } = await modelStore.find(this.#env, modelId);
    const model = await isolateEngine.acquire(this.#env, modelId);
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
      this.#ctx.id.toString(),
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
            this.#ctx.storage.transactionSync(() => {
              this.#store.endTurn(answerId, text, reason, ids, Date.now());
              this.#turns.append(events);
            });
            if (ids !== null) this.#kv.save(model, salt, ids.tokens);
            this.#changed();
          },
        },
        nextEvents: () => isolateEngine.nextEvents(this.#env, model, generation),
        describe: (cause) => toApiError(request.requestId, cause),
        nowMs: () => Date.now(),
      },
      log,
    );
    this.#turn = turn;
    if (this.#stopOnStart) turn.stop();
    // Keeps the object alive until the answer is whole, for up to 15 minutes, with or without a reader.
    this.#ctx.waitUntil(turn.run());
    this.#changed();
  }

  /** An answer that a fault cut stays as it is, marked "abort", and so do its events. */
  #giveUp(): void {
    const answerId = this.#store.pendingAnswerId();
    if (answerId === null) return;
    this.#ctx.storage.transactionSync(() => {
      const isLogged = this.#turns.last()?.answerId === answerId;
      const log = new TurnLog(isLogged ? this.#turns.events() : []);
      const timings = { queueMs: 0, ttftMs: 0, totalMs: 0 };
      if (isLogged) this.#turns.append(log.abortEvents(this.#store.record().model, 0, timings));
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

  #assertExists(id: string): void {
    if (!this.#store.exists()) throw notFound(`The session '${id}'`);
  }
}
