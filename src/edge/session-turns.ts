/**
 * The turns of one session: who answers now and who waits, how a turn begins, runs and ends, and how one that a fault cut
 * goes on.
 *
 * Invariants:
 *  - one answer at a time; a message that comes meanwhile is refused with 409 or waits, stored, and is no part of the
 *    history until its turn;
 *  - a message enters the history only once it is admitted: what the model must refuse (context exceeded) leaves no trace;
 *  - an answer is generated to its end whoever reads it, in as many invocations as that takes, and what there is of it is
 *    kept whatever ends it;
 *  - an answer that a fault cut goes on from what is stored of it as soon as anybody asks for the session or its alarm
 *    rings, and says what it would have said: it has its seed, and its tokens are computed again, not drawn.
 *
 * The next invocation of a turn is an alarm: it has CPU time of its own (Durable Object limits: "per invocation, HTTP
 * request, WebSocket message or alarm"; workerd tops an object's limit up with every event it is delivered), it is durable,
 * it needs no client, and unlike a call of the object to itself it makes no chain that the depth limit of subrequests ends.
 */
import type { SessionTurnRequest } from "../api/model-service.ts";
import { ApiError, sessionBusy, sessionQueueFull, streamGone } from "../protocol/errors.ts";
import { SESSION_QUEUE_MAX } from "../protocol/limits.ts";
import type { Env } from "./env.ts";
import { storedBytes, turnBytes } from "./event-bytes.ts";
import { toApiError } from "./rpc-result.ts";
import { RunningTurn } from "./running-turn.ts";
import type { SessionKv } from "./session-kv.ts";
import { assertFitsRow } from "./session-question.ts";
import type { TurnBytes } from "./session-rpc.ts";
import type { SessionStore } from "./session-store.ts";
import { eventsFrom, type Turn } from "./turn.ts";
import { fallbackModelOf, isPassing, TurnAdmission } from "./turn-admission.ts";
import { TurnLog } from "./turn-log.ts";
import { TurnMeter } from "./turn-meter.ts";
import { type TurnPlace, TurnQueue } from "./turn-queue.ts";
import type { TurnSource } from "./turn-source.ts";
import { type StoredTurn, TurnStore } from "./turn-store.ts";
import { WaitingMessages } from "./waiting-messages.ts";

/** A turn that comes to a fault so often without a token between is what brings it about. */
const RESTARTS_MAX = 4;
/** The most that an answer stands still where its invocation was cut off and nobody asks for it. */
const WATCHDOG_MS = 30_000;
/** Long ago: an alarm that is to ring at once must not wait for a clock that was ahead when it was set. */
const AT_ONCE_MS = 1;
/** After the first failure of what will pass (no engine right now); doubled with every further one. */
const RETRY_MS = 5_000;
const RETRY_MS_MAX = 60 * 60 * 1000;
/** How often a reader looks whether a turn that is being admitted has begun. */
const POLL_MS = 10;

/** The session that the turns belong to. */
export interface TurnOwner {
  ctx: DurableObjectState;
  env: Env;
  store: SessionStore;
  kv: SessionKv;
  /** A turn runs. */
  began(turn: Turn): void;
  /** A turn that a fault cut has its end. */
  gaveUp(): void;
  /** A turn began or ended. */
  changed(): void;
  /** `dueAtMs` has changed. */
  replanAlarm(): void;
}

export class SessionTurns {
  readonly #ctx: DurableObjectState;
  readonly #env: Env;
  readonly #store: SessionStore;
  readonly #began: (turn: Turn) => void;
  readonly #gaveUp: () => void;
  readonly #changed: () => void;
  readonly #replanAlarm: () => void;
  readonly #turns: TurnStore;
  readonly #admission: TurnAdmission;
  readonly #queue = new TurnQueue();
  /** Of whoever is answering. */
  #place: TurnPlace | null = null;
  #running: RunningTurn | null = null;
  readonly #waiting: WaitingMessages;
  /** Waiting messages that have their place in `#queue`. */
  readonly #queued = new Set<number>();
  #stopOnStart = false;
  /** In a row, of what is to be tried again. */
  #numFailures = 0;

  constructor({ ctx, env, store, kv, began, gaveUp, changed, replanAlarm }: TurnOwner) {
    this.#ctx = ctx;
    this.#env = env;
    this.#store = store;
    this.#began = began;
    this.#gaveUp = gaveUp;
    this.#changed = changed;
    this.#replanAlarm = replanAlarm;
    this.#turns = new TurnStore(ctx.storage);
    this.#waiting = new WaitingMessages(ctx.storage);
    this.#admission = new TurnAdmission(ctx.id.toString(), env, store, kv);
  }

  /** Makes the tables. Only for a session that exists. */
  prepare(): void {
    this.#turns.prepare();
    this.#waiting.prepare();
  }

  get isBusy(): boolean {
    return this.#isAnswering || !this.#waiting.isEmpty;
  }

  /** Null also for a turn that a fault cut. */
  get running(): Turn | null {
    return this.#running?.turn ?? null;
  }

  /** When the object's alarm is to call `lookAfter`; null = there is nothing to do. */
  get dueAtMs(): number | null {
    if (!this.#store.exists() || (this.#store.pendingAnswerId() === null && this.#waiting.isEmpty)) return null;
    const nowMs = Date.now();
    if (this.#numFailures > 0) return nowMs + Math.min(RETRY_MS * 2 ** (this.#numFailures - 1), RETRY_MS_MAX);
    return this.#running?.isDriven === false ? AT_ONCE_MS : nowMs + WATCHDOG_MS;
  }

  /** Messages of the history that the last turn left out. */
  get numTruncated(): number {
    return this.#turns.last()?.numTruncated ?? 0;
  }

  /** @throws ApiError 409 where another one answers and the request does not wait, or too many wait */
  async send(id: string, request: SessionTurnRequest): Promise<TurnBytes> {
    // What a fault cut comes first.
    this.wake(id);
    if (this.#queue.isTaken && !request.waitsForTurn) throw sessionBusy(id);
    if (this.#queue.numWaiting >= SESSION_QUEUE_MAX) throw sessionQueueFull(id, SESSION_QUEUE_MAX);
    if (request.question.kind !== "regenerate") assertFitsRow(request.question.content, "content");
    if (!this.#queue.isTaken) return this.#inTurn(() => this.#begin(id, request, null));
    const waitingId = this.#waiting.add(request);
    try {
      return await this.#beginQueued(id, waitingId);
    } catch (cause) {
      // The client is told, so nobody has to see to it later.
      if (this.#store.exists()) this.#waiting.remove(waitingId);
      throw cause;
    }
  }

  /** See `ChatSession.stream`. */
  async stream(id: string, turn: number | null, position: number): Promise<TurnBytes | null> {
    await this.#untilStarted(id, turn);
    const last = this.#turns.last();
    if (turn !== null && last?.answerId !== turn) throw streamGone(turn, last?.answerId ?? null);
    if (last === null || (turn === null && this.#running === null)) return null;
    return this.#bytesOf(last, position);
  }

  /** @returns false where nothing is being answered */
  stop(): boolean {
    if (!this.#isAnswering) return false;
    if (this.#running !== null) this.#running.turn.stop();
    else if (this.#queue.isTaken) this.#stopOnStart = true;
    else this.#giveUp();
    return true;
  }

  /** The session is deleted: its readers see the end, and storage is left alone. */
  discard(): void {
    this.#running?.turn.discard();
    this.#running = null;
  }

  /** After `discard`: whoever waits is told that the session is gone. */
  passOn(): void {
    this.#place?.pass();
  }

  /** Goes on with what a fault cut, for who does not wait for it. */
  wake(id: string): void {
    this.#ctx.waitUntil(this.#recover(id).catch((cause) => void toApiError(id, cause)));
  }

  /**
   * For the object's alarm: runs what nobody runs, in this invocation. That is the next part of a turn that has used up
   * the CPU time of the last one, a turn that was cut while no client came back, a message that waits.
   */
  async lookAfter(id: string): Promise<void> {
    await this.#recover(id).catch((cause) => void toApiError(id, cause));
    if (this.#running?.isDriven === false) await this.#running.drive();
  }

  get #isAnswering(): boolean {
    return this.#queue.isTaken || this.#store.pendingAnswerId() !== null;
  }

  /** Begins a turn when it is its turn; the place is passed on at the end of it, or here where none began. */
  async #inTurn<T>(begin: () => Promise<T>): Promise<T> {
    const place = await this.#queue.take();
    this.#place = place;
    this.#stopOnStart = false;
    try {
      return await begin();
    } finally {
      if (this.#running === null) place.pass();
    }
  }

  /** Begins a waiting message when it is its turn. Who it comes from may be gone by then. */
  async #beginQueued(id: string, waitingId: number): Promise<TurnBytes> {
    this.#queued.add(waitingId);
    try {
      return await this.#inTurn(() => {
        this.#admission.assertExists(id); // It may have been deleted while this one waited.
        return this.#begin(id, this.#waiting.get(waitingId), waitingId);
      });
    } finally {
      this.#queued.delete(waitingId);
    }
  }

  /** @param waitingId where it waited for its turn */
  async #begin(id: string, asked: SessionTurnRequest, waitingId: number | null): Promise<TurnBytes> {
    const arrivedAtMs = Date.now();
    const { source, content, replaces, turn } = await this.#admission.ask(id, asked, this.numTruncated);
    try {
      const stored = this.#ctx.storage.transactionSync(() => {
        this.#giveUp();
        const answerId = this.#store.beginTurn(content, Date.now(), replaces);
        this.#turns.begin({ ...turn, answerId });
        if (waitingId !== null) this.#waiting.remove(waitingId);
        return { ...turn, answerId, numRestarts: 0 };
      });
      this.#run(
        id,
        source,
        stored,
        new TurnLog(),
        new TurnMeter(this.#ctx, this.#env, stored, { arrivedAtMs, ...asked }),
      );
      return this.#bytesOf(stored, 0);
    } catch (cause) {
      source.generation.abort();
      throw cause;
    }
  }

  /** Until the turn runs that is being admitted or begun again, if it is the one that is asked for. */
  async #untilStarted(id: string, turn: number | null): Promise<void> {
    for (;;) {
      this.#admission.assertExists(id);
      await this.#recover(id);
      this.#admission.assertExists(id);
      const isAsked = turn === null || turn === this.#store.pendingAnswerId();
      if (this.#running !== null || !this.#queue.isTaken || !isAsked) return;
      await scheduler.wait(POLL_MS);
    }
  }

  /**
   * Puts what a former life of the object left behind in its place in the queue: the turn that was cut, then the messages
   * that wait, as they came. Those who come now are behind them.
   *
   * @returns when the turn goes on
   */
  async #recover(id: string): Promise<void> {
    // For an alarm that could not be set.
    if (this.#running?.isDriven === false) this.#replanAlarm();
    const isCut = !this.#queue.isTaken && this.#store.pendingAnswerId() !== null;
    const restarted = isCut ? this.#inTurn(() => this.#restartOrGiveUp(id)) : null;
    for (const waitingId of this.#waiting.ids()) {
      if (!this.#queued.has(waitingId)) this.#ctx.waitUntil(this.#beginUnattended(id, waitingId));
    }
    await restarted;
  }

  /** What the model refuses now it always will, and there is nobody to tell. */
  async #beginUnattended(id: string, waitingId: number): Promise<void> {
    try {
      await this.#beginQueued(id, waitingId);
    } catch (cause) {
      const error = toApiError(id, cause);
      if (!this.#store.exists()) return;
      if (isPassing(error)) return this.#tryAgainLater();
      console.error(`A message that waited in session ${id} was refused and is dropped:`, error);
      this.#waiting.remove(waitingId);
    }
  }

  /** Goes on with a turn that a fault cut. Where that can never be, its partial answer is the whole. */
  async #restartOrGiveUp(id: string): Promise<void> {
    try {
      await this.#restart(id);
    } catch (cause) {
      const isFinal = cause instanceof ApiError && !isPassing(cause) && cause.status < 500;
      if (isFinal && this.#store.exists()) return this.#giveUp();
      this.#tryAgainLater();
      throw cause;
    }
  }

  async #restart(id: string): Promise<void> {
    const turn = this.#turns.last();
    const answerId = this.#store.pendingAnswerId();
    if (turn === null || turn.answerId !== answerId) return this.#giveUp(); // Of a version that kept no events.
    const log = new TurnLog(this.#turns.events());
    const source = await this.#sourceOf(id, turn, log);
    if (source === null) return this.#giveUp();
    this.#run(id, source, turn, log, new TurnMeter(this.#ctx, this.#env, turn, null));
  }

  /** @returns null where the turn can never go on: another model file, too many faults in a row, or it is stopped */
  async #sourceOf(id: string, turn: StoredTurn, log: TurnLog): Promise<TurnSource | null> {
    if (turn.numRestarts >= RESTARTS_MAX) return null;
    const source = await this.#admission.again(id, turn, log, () => this.#turns.countRestart());
    if (!this.#stopOnStart) return source;
    source?.generation.abort();
    return null;
  }

  #run(id: string, source: TurnSource, stored: StoredTurn, log: TurnLog, meter: TurnMeter): void {
    const place = this.#place;
    const running = new RunningTurn(
      {
        env: this.#env,
        storage: this.#ctx.storage,
        store: this.#store,
        turns: this.#turns,
        again: async (known) => {
          const last = this.#turns.last();
          const again = last && (await this.#sourceOf(id, last, known));
          this.#numFailures = 0;
          return again;
        },
        ended: (save) => {
          this.#running = null;
          // Whoever waits goes on only when all of this is done.
          place?.pass();
          save();
          this.#numFailures = 0;
          this.#replanAlarm();
          this.#changed();
        },
        meter,
        failed: () => this.#tryAgainLater(),
        isLeft: () => this.#replanAlarm(),
      },
      source,
      stored,
      log,
    );
    this.#running = running;
    this.#began(running.turn);
    this.#numFailures = 0;
    if (this.#stopOnStart) running.turn.stop();
    // Keeps the object alive, with or without a reader, until the answer is whole or goes on in another invocation.
    this.#ctx.waitUntil(running.drive());
    // Should this invocation not come to its end, the alarm sees to the turn.
    this.#replanAlarm();
    this.#changed();
  }

  #tryAgainLater(): void {
    this.#numFailures++;
    this.#replanAlarm();
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
    this.#gaveUp();
  }

  #bytesOf({ answerId, frame, numTruncated, modelKey }: StoredTurn, position: number): TurnBytes {
    const turn = this.running;
    const bytes = turn === null ? storedBytes(eventsFrom(this.#turns.events(), position)) : turnBytes(turn, position);
    const fallbackModel = fallbackModelOf(modelKey);
    return { bytes, turn: answerId, frame, numTruncated, fallbackModel, hasEnded: turn === null };
  }
}
