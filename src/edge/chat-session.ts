/**
 * One conversation: a Durable Object with its history in SQLite. The KV cache of the conversation stays in the isolate's
 * pool under the hashes of its tokens, and in storage for when that is gone, so the next turn prefills only what is new.
 *
 * Invariants:
 *  - one answer at a time; a message that comes meanwhile is refused with 409 and not stored;
 *  - a message is stored only once it is admitted: what the model must refuse (context exceeded) leaves no trace;
 *  - an answer is generated to its end whoever reads it, and what there is of it is kept whatever ends it.
 */
import { DurableObject } from "cloudflare:workers";
import type { SessionInfo, SessionInit, SessionMessageRequest } from "../api/model-service.ts";
import { invalidRequest, notFound, sessionBusy } from "../protocol/errors.ts";
import type { ChatMessage } from "../protocol/generate.ts";
import type { Env } from "./env.ts";
import { turnBytes } from "./event-bytes.ts";
import { isolateEngine } from "./isolate-engine.ts";
import { capture, type RpcResult, toApiError } from "./rpc-result.ts";
import { SessionKv } from "./session-kv.ts";
import { ROW_BYTES_MAX, SessionStore } from "./session-store.ts";
import { Turn } from "./turn.ts";

export class ChatSession extends DurableObject<Env> {
  readonly #store: SessionStore;
  readonly #kv: SessionKv;
  #turn: Turn | null = null;
  /** A message was taken and its answer has not begun: the model is loading. */
  #starting = false;
  #stopOnStart = false;
  /** Updates of the owner's list, one after another. */
  #publishing: Promise<void> = Promise.resolve();

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.#store = new SessionStore(ctx.storage);
    this.#kv = new SessionKv(ctx, env, () => this.#store.exists());
    // A fresh object has no answer running: one that is still pending was cut by an eviction, a crash or a deploy.
    isolateEngine.ownerRestarted(ctx.id.toString());
    if (this.#store.exists()) this.#store.markInterrupted();
  }

  async create(id: string, init: SessionInit, owner: string | null): Promise<RpcResult<SessionInfo>> {
    return capture(id, async () => {
      assertFitsRow(init.system ?? "", "system");
      const nowMs = Date.now();
      const { model, title, system } = init;
      this.#store.create({ id, owner, model, title, createdAtMs: nowMs, updatedAtMs: nowMs }, system);
      await this.#publish();
      return this.#info();
    });
  }

  async get(id: string): Promise<RpcResult<SessionInfo>> {
    return capture(id, () => {
      this.#assertExists(id);
      return this.#info();
    });
  }

  async send(id: string, message: SessionMessageRequest): Promise<RpcResult<ReadableStream<Uint8Array>>> {
    return capture(message.request.requestId, async () => {
      this.#assertExists(id);
      if (this.#busy()) throw sessionBusy(id);
      this.#starting = true;
      try {
        return turnBytes(await this.#begin(id, message));
      } finally {
        this.#starting = false;
        this.#stopOnStart = false;
      }
    });
  }

  async stop(id: string): Promise<RpcResult<boolean>> {
    return capture(id, () => {
      this.#assertExists(id);
      if (!this.#busy()) return false;
      if (this.#turn === null) this.#stopOnStart = true;
      else this.#turn.stop();
      return true;
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
      await this.#publishing;
      if (owner !== null) await this.env.SESSION_DIRECTORY.getByName(owner).remove(id);
      await deleted;
      return null;
    });
  }

  override async alarm(): Promise<void> {
    await this.#kv.expire();
  }

  async #begin(id: string, { content, request }: SessionMessageRequest): Promise<Turn> {
    assertFitsRow(content, "content");
    const { model: modelId, owner } = this.#store.record();
    const model = await isolateEngine.acquire(this.env, modelId);
    this.#assertExists(id); // It may have been deleted while the model was loading.
    const transcript = this.#store.transcript();
    const salt = cacheSalt(id, owner);
    const generation = isolateEngine.generate(
      this.ctx.id.toString(),
      model,
      {
        ...request,
        model: modelId,
        prompts: [{ kind: "chat", messages: [...this.#conversation(), { role: "user", content }] }],
        n: 1,
        echo: false,
        cacheSalt: salt,
      },
      { ...(transcript === null ? {} : { transcript }), ...this.#kv.beginTurn(model) },
    );
    try {
      const answerId = this.#store.beginTurn(content, Date.now());
      const turn = new Turn(generation, {
        sink: {
          checkpoint: (text) => {
            this.#store.checkpoint(answerId, text);
            this.#kv.checkpoint(model, salt, () => generation.transcript().tokens);
          },
          ended: (text, reason, ids) => {
            this.#turn = null;
            this.#store.endTurn(answerId, text, reason, ids, Date.now());
            if (ids !== null) this.#kv.save(model, salt, ids.tokens);
            this.ctx.waitUntil(this.#publish());
          },
        },
        nextEvents: () => isolateEngine.nextEvents(this.env, model, generation),
        describe: (cause) => toApiError(request.requestId, cause),
        nowMs: () => Date.now(),
      });
      this.#turn = turn;
      if (this.#stopOnStart) turn.stop();
      // Keeps the object alive until the answer is whole, for up to 15 minutes, with or without a reader.
      this.ctx.waitUntil(turn.run());
      this.ctx.waitUntil(this.#publish());
      return turn;
    } catch (cause) {
      generation.abort();
      throw cause;
    }
  }

  #conversation(): ChatMessage[] {
    return this.#store.messages().map(({ role, content }) => ({ role, content }));
  }

  #info(): SessionInfo {
    return { ...this.#store.summary(), messages: this.#store.messages(), busy: this.#busy() };
  }

  #busy(): boolean {
    return this.#turn !== null || this.#starting;
  }

  #assertExists(id: string): void {
    if (!this.#store.exists()) throw notFound(`The session '${id}'`);
  }

  /** Brings the owner's list up to date. The list is a convenience: its failure is logged and harms no answer. */
  #publish(): Promise<void> {
    this.#publishing = this.#publishing.then(async () => {
      if (!this.#store.exists()) return;
      const { owner } = this.#store.record();
      if (owner === null) return;
      try {
        await this.env.SESSION_DIRECTORY.getByName(owner).put(this.#store.summary());
      } catch (cause) {
        console.error("The list of sessions could not be updated:", cause);
      }
    });
    return this.#publishing;
  }
}

/**
 * Sessions of one owner share cached prefixes (the same system prompt); nobody else's do, so that no tenant can learn
 * from the time to the first token what another one has asked.
 */
function cacheSalt(id: string, owner: string | null): string {
  return owner === null ? `session:${id}` : `owner:${owner}`;
}

function assertFitsRow(text: string, param: string): void {
  const numBytes = new TextEncoder().encode(text).length;
  if (numBytes <= ROW_BYTES_MAX) return;
  throw invalidRequest(
    `The message is ${numBytes} bytes; a session keeps at most ${ROW_BYTES_MAX}. Shorten it.`,
    param,
  );
}
