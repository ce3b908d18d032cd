/**
 * The WebSockets of one session (`protocol/session-socket.ts` says what goes over them). They hibernate: while nothing
 * happens the object may be gone and its sockets stay open, so all that is known of a socket is its attachment.
 *
 * Invariants:
 *  - every socket gets every turn, in the order of the turns: its announcement, then its events from the first one on, or
 *    from the one after what the client has, each once, whether an eviction came in between or not;
 *  - one reader of a turn feeds all sockets; where there is no socket there is no reader;
 *  - a request is answered once: by the announcement of its turn, another reply, or an error.
 */
import { answerFrame } from "../api/answer-response.ts";
import { systemClock } from "../api/clock.ts";
import { CHAT_FORMAT } from "../api/generation-routes.ts";
import type { SessionInfo, SessionTurnRequest } from "../api/model-service.ts";
import { randomHexId } from "../api/random-id.ts";
import { ApiError, errorFields, notFound, streamGone, tooManySockets } from "../protocol/errors.ts";
import { SESSION_SOCKETS_MAX } from "../protocol/limits.ts";
import {
  decodeLastEventId,
  decodeSocketMessage,
  errorFrame,
  idleFrame,
  parseSocketMessage,
  SOCKET_CLOSE,
  SOCKET_PING,
  SOCKET_PONG,
  type SocketRequest,
  sessionFrame,
  socketRefOf,
  stoppedFrame,
} from "../protocol/session-socket.ts";
import { type EventPosition, formatEventId } from "../protocol/sse-ids.ts";
import { PeerSocket } from "./peer-socket.ts";
import { type RpcResult, toApiError, unwrap } from "./rpc-result.ts";
import type { SessionStore } from "./session-store.ts";
import type { Turn } from "./turn.ts";
import { TurnFeed } from "./turn-feed.ts";
import type { StoredTurn, TurnStore } from "./turn-store.ts";

/** What the sockets need from their session. */
export interface SocketHost {
  session: {
    send(id: string, request: SessionTurnRequest): Promise<RpcResult<unknown>>;
    stop(id: string): Promise<RpcResult<boolean>>;
  };
  info(): SessionInfo;
  /** The turn that runs in this object; null also for one that a fault cut. */
  running(): Turn | null;
  /** Goes on with a turn that a fault cut. */
  wake(id: string): void;
}

interface Asker {
  socket: PeerSocket;
  /** The client's name for its request. */
  ref: string | null;
}

/** The upgrade as it goes from the Worker to the session's object. */
export function socketRequest(id: string, position: EventPosition | null): Request {
  const url = new URL(`https://session/${id}`);
  if (position !== null) url.searchParams.set("last_event_id", formatEventId(position));
  return new Request(url, { headers: { upgrade: "websocket" } });
}

export class SessionSockets {
  readonly #ctx: DurableObjectState;
  readonly #store: SessionStore;
  readonly #turns: TurnStore;
  readonly #host: SocketHost;
  /** The turn that is being fed, or that comes next. */
  #followed: { turn: Turn; feed: TurnFeed } | null = null;
  /**
   * Who asked for a turn that has not begun, by the id of the request. In memory: while a request waits the object stays,
   * and where a fault resets it, its sockets are gone as well.
   */
  readonly #asked = new Map<string, Asker>();
  /** Feeds, one after another. */
  #feeding: Promise<void> = Promise.resolve();

  constructor(ctx: DurableObjectState, store: SessionStore, turns: TurnStore, host: SocketHost) {
    this.#ctx = ctx;
    this.#store = store;
    this.#turns = turns;
    this.#host = host;
  }

  /** Answers the upgrade that `socketRequest` made; a refusal is the fields of an `ApiError`. */
  connect(request: Request): Response {
    const { pathname, searchParams } = new URL(request.url);
    const id = pathname.slice(1);
    try {
      this.#assertExists(id);
      if (this.#open().length >= SESSION_SOCKETS_MAX) throw tooManySockets(id, SESSION_SOCKETS_MAX);
      const position = decodeLastEventId(searchParams.get("last_event_id") ?? "");
      const { 0: theirs, 1: ours } = new WebSocketPair();
      this.#ctx.acceptWebSocket(ours);
      this.#ctx.setWebSocketAutoResponse(new WebSocketRequestResponsePair(SOCKET_PING, SOCKET_PONG));
      this.#welcome(new PeerSocket(ours), position);
      return new Response(null, { status: 101, webSocket: theirs });
    } catch (cause) {
      const error = toApiError(id, cause);
      return Response.json(errorFields(error), { status: error.status });
    }
  }

  /** A message from a client. Never throws. */
  async message(webSocket: WebSocket, data: string | ArrayBuffer): Promise<void> {
    const socket = new PeerSocket(webSocket);
    const requestId = randomHexId();
    let ref: string | null = null;
    try {
      if (typeof data !== "string") return socket.close(SOCKET_CLOSE.unsupported, "text frames only");
      const message = parseSocketMessage(data);
      ref = socketRefOf(message);
      await this.#answer(socket, decodeSocketMessage(message, requestId), { requestId, ref });
    } catch (cause) {
      const error = toApiError(requestId, cause);
      socket.send(errorFrame(error, ref));
      if (error.status === 413) socket.close(SOCKET_CLOSE.tooLarge, "message too large");
    } finally {
      this.#asked.delete(requestId);
    }
  }

  /** A turn runs: every socket hears of it, and then all of it. */
  began(turn: Turn): void {
    try {
      if (this.#open().length > 0) this.#follow(turn);
    } catch (cause) {
      // Of its readers, and no reason that a turn be left half begun.
      console.error("The sockets of a turn could not be told of it:", cause);
    }
  }

  /** A turn that a fault cut will not go on: whoever waits for the rest gets its end. */
  gaveUp(): void {
    const last = this.#turns.last();
    const waiting = this.#open().filter((socket) => socket.state.turn === last?.answerId);
    if (last === null || waiting.length === 0) return;
    this.#feedOf(last).push(this.#turns.events(), waiting);
  }

  /** The session is deleted. What its last turn still has to say is said before. */
  async close(): Promise<void> {
    await this.#feeding;
    for (const socket of this.#open()) socket.close(SOCKET_CLOSE.deleted, "session deleted");
  }

  #open(): PeerSocket[] {
    return this.#ctx
      .getWebSockets()
      .map((webSocket) => new PeerSocket(webSocket))
      .filter((socket) => socket.isOpen);
  }

  #welcome(socket: PeerSocket, position: EventPosition | null): void {
    socket.send(sessionFrame(this.#host.info()));
    try {
      this.#replay(socket, position, null);
    } catch (cause) {
      if (!(cause instanceof ApiError) || position === null) throw cause;
      socket.send(errorFrame(cause, null));
      this.#replay(socket, null, null);
    }
  }

  async #answer(
    socket: PeerSocket,
    request: SocketRequest,
    { requestId, ref }: { requestId: string; ref: string | null },
  ): Promise<void> {
    const id = this.#sessionId();
    switch (request.type) {
      case "ask": {
        this.#asked.set(requestId, { socket, ref });
        const { generate, style, waitsForTurn, truncates } = request.turn;
        const clock = { clock: systemClock, randomId: randomHexId };
        const frame = answerFrame(clock, CHAT_FORMAT, style, 1, { session_id: id });
        unwrap(
          await this.#host.session.send(id, {
            question: request.question,
            request: generate,
            frame,
            waitsForTurn,
            truncates,
          }),
        );
        return;
      }
      case "stop":
        return socket.send(stoppedFrame(unwrap(await this.#host.session.stop(id)), ref));
      case "resume":
        if (!this.#replay(socket, request.position, ref)) socket.send(idleFrame(ref));
        return;
      case "ping":
        return socket.send(SOCKET_PONG);
    }
  }

  /**
   * @param position null = the running turn from its beginning
   * @returns false where nothing is to come
   * @throws ApiError 410 for a turn whose events are not kept
   */
  #replay(socket: PeerSocket, position: EventPosition | null, ref: string | null): boolean {
    const last = this.#turns.last();
    if (position !== null && last?.answerId !== position.turn) throw streamGone(position.turn, last?.answerId ?? null);
    const pending = this.#pendingTurn();
    const numSeen = position?.numEvents ?? 0;
    if (pending !== null) {
      this.#host.wake(this.#sessionId());
      const running = this.#host.running();
      const feed = running === null ? this.#feedOf(pending) : this.#follow(running);
      feed.join(socket, numSeen, ref);
      return true;
    }
    if (last === null || position === null) return false;
    const feed = this.#feedOf(last);
    feed.push(this.#turns.events(), []);
    if (feed.framesAfter(numSeen).length === 0) return false;
    feed.join(socket, numSeen, ref);
    return true;
  }

  /** @returns the feed of the running turn, which begins when those before it have ended */
  #follow(turn: Turn): TurnFeed {
    if (this.#followed?.turn === turn) return this.#followed.feed;
    const stored = this.#turns.last()!;
    const feed = this.#feedOf(stored);
    const asked = this.#asked.get(stored.request.requestId) ?? null;
    this.#asked.delete(stored.request.requestId);
    this.#followed = { turn, feed };
    this.#feeding = this.#feeding.then(() => this.#run(feed, turn, asked));
    this.#ctx.waitUntil(this.#feeding);
    return feed;
  }

  async #run(feed: TurnFeed, turn: Turn, asked: Asker | null): Promise<void> {
    try {
      for (const socket of this.#open()) {
        if (socket.state.turn !== feed.turn) feed.join(socket, 0, asked?.socket.is(socket) ? asked.ref : null);
      }
      const reader = turn.reader();
      for (let events = await reader.next(); events.length > 0; events = await reader.next()) {
        feed.push(events, this.#open());
      }
    } catch (cause) {
      console.error(`The sockets of turn ${feed.turn} could not be fed:`, cause);
    } finally {
      if (this.#followed?.turn === turn) this.#followed = null;
    }
  }

  #feedOf(turn: StoredTurn): TurnFeed {
    const isQuestion = ({ id, role }: SessionInfo["messages"][number]) => role === "user" && id < turn.answerId;
    return new TurnFeed(turn, this.#store.messages().findLast(isQuestion)!);
  }

  #pendingTurn(): StoredTurn | null {
    const last = this.#turns.last();
    return last !== null && last.answerId === this.#store.pendingAnswerId() ? last : null;
  }

  /** @throws ApiError 404 where the session is gone */
  #sessionId(): string {
    this.#assertExists(this.#ctx.id.name ?? "");
    return this.#store.record().id;
  }

  #assertExists(id: string): void {
    if (!this.#store.exists()) throw notFound(`The session '${id}'`);
  }
}
