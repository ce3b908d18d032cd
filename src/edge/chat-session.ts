/**
 * One conversation: a Durable Object with its history in SQLite. The KV cache of the conversation stays in the isolate's
 * pool under the hashes of its tokens, and in storage for when that is gone, so the next turn prefills only what is new.
 * This is what others may ask of it; `session-turns.ts` is how it answers.
 */
import type { SessionInfo, SessionInit, SessionTurnRequest } from "../api/model-service.ts";
import { notFound, sessionBusy } from "../protocol/errors.ts";
import type { Env } from "./env.ts";
import { isolateEngine } from "./isolate-engine.ts";
import type { KvRows } from "./kv-store.ts";
import { capture, type RpcResult } from "./rpc-result.ts";
import { admitQuestion } from "./session-access.ts";
import { SessionAlarm } from "./session-alarm.ts";
import { SessionKv } from "./session-kv.ts";
import { assertFitsRow, noSuchMessage } from "./session-question.ts";
import type { SessionCopy, TurnBytes } from "./session-rpc.ts";
import { SessionSockets } from "./session-sockets.ts";
import { SessionStore } from "./session-store.ts";
import { SessionTurns } from "./session-turns.ts";
import { SocketObject } from "./socket-object.ts";
import { TurnStore } from "./turn-store.ts";

export class ChatSession extends SocketObject {
  readonly #store: SessionStore;
  readonly #alarm: SessionAlarm;
  readonly #kv: SessionKv;
  readonly #turns: SessionTurns;
  protected readonly sockets: SessionSockets;
  /** Updates of the owner's list, one after another. */
  #publishing: Promise<void> = Promise.resolve();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new SessionStore(ctx.storage);
    this.#alarm = new SessionAlarm(ctx.storage, () => [this.#turns.dueAtMs, this.#kv.dueAtMs]);
    this.#kv = new SessionKv(
      ctx,
      env,
      () => this.#store.exists(),
      () => this.#alarm.replan(),
    );
    this.#turns = new SessionTurns({
      ctx,
      env,
      store: this.#store,
      kv: this.#kv,
      began: (turn) => this.sockets.began(turn),
      gaveUp: () => this.sockets.gaveUp(),
      changed: () => ctx.waitUntil(this.#publish()),
      replanAlarm: () => ctx.waitUntil(this.#alarm.replan().catch(logNoAlarm)),
    });
    this.sockets = new SessionSockets(ctx, this.#store, new TurnStore(ctx.storage), {
      session: this,
      info: () => this.#info(),
      running: () => this.#turns.running,
      wake: (id) => this.#turns.wake(id),
    });
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
      this.#turns.wake(id);
      return this.#info();
    });
  }

  async send(id: string, request: SessionTurnRequest): Promise<RpcResult<TurnBytes>> {
    return capture(request.request.requestId, async () => {
      this.#assertExists(id);
      const admitted = await admitQuestion(this.env, this.#store.record(), request);
      try {
        this.#assertExists(id);
        return { ...(await this.#turns.send(id, admitted.request)), headers: admitted.grant.headers };
      } catch (cause) {
        this.ctx.waitUntil(admitted.grant.settle(0));
        throw cause;
      }
    });
  }

  /**
   * @param turn null = the running one
   * @param position events that the reader has
   * @returns null where no turn runs and none was named
   */
  async stream(id: string, turn: number | null, position: number): Promise<RpcResult<TurnBytes | null>> {
    return capture(id, async () => {
      this.#assertExists(id);
      return this.#turns.stream(id, turn, position);
    });
  }

  async stop(id: string): Promise<RpcResult<boolean>> {
    return capture(id, () => {
      this.#assertExists(id);
      return this.#turns.stop();
    });
  }

  /** @param messageId the last message of the copy; null = all */
  async copy(id: string, messageId: number | null): Promise<RpcResult<SessionCopy>> {
    return capture(id, () => {
      this.#assertExists(id);
      this.#turns.wake(id);
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
      this.#turns.discard();
      // Before the await: from here on the session is gone for everybody, and no late update can list it again.
      const deleted = this.ctx.storage.deleteAll();
      this.#alarm.rang();
      this.#turns.passOn();
      await this.sockets.close();
      await this.#publishing;
      if (owner !== null) await this.env.SESSION_DIRECTORY.getByName(owner).remove(id);
      await deleted;
      return null;
    });
  }

  override async alarm(): Promise<void> {
    this.#alarm.rang();
    if (!this.#store.exists()) return;
    await this.#turns.lookAfter(this.#store.record().id);
    this.#kv.expire();
    await this.#alarm.replan();
  }

  #info(): SessionInfo {
    const { isBusy, numTruncated } = this.#turns;
    return { ...this.#store.summary(), messages: this.#store.messages(), busy: isBusy, numTruncated };
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

/** Whoever asks for the session next sets it. */
function logNoAlarm(cause: unknown): void {
  console.error("The alarm of a session could not be set:", cause);
}
