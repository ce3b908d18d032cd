/**
 * A server in memory that keeps sessions as the real one does, and answers when the test says so: each message waits
 * in `turns` until the test streams, ends or breaks it.
 */
import type { AnswerStream, ChatClient } from "../../../src/page/net/client.ts";
import { type Failure, failure, networkFailure, RequestError } from "../../../src/page/net/failure.ts";
import type { SessionWatcher } from "../../../src/page/net/session-socket.ts";
import type { AnswerEvent } from "../../../src/page/net/wire.ts";
import { type LoadedSession, statusOf } from "../../../src/page/state/reducer.ts";

export class Turn {
  readonly session: LoadedSession;
  readonly number: number;
  readonly signal: AbortSignal;
  readonly #events: (AnswerEvent | Failure)[] = [];
  #isOver = false;
  #numCuts = 0;
  #waiting: (() => void)[] = [];

  constructor(session: LoadedSession, signal: AbortSignal) {
    this.session = session;
    this.number = session.lastMessageId;
    this.signal = signal;
    signal.addEventListener("abort", () => this.cut());
  }

  /** Generates text: kept by the session, and streamed while the reader is there. */
  write(text: string): void {
    const answer = this.session.messages.at(-1)!;
    answer.text += text;
    this.#push({ type: "text", text });
  }

  end(reason = "stop"): void {
    this.session.isBusy = false;
    this.session.messages.at(-1)!.status = statusOf(reason);
    this.#push({ type: "end", reason });
    this.#isOver = true;
    this.#push({ type: "usage", usage: { promptTokens: 10, completionTokens: 5, cachedTokens: 3 } });
  }

  /** The connection breaks; the session goes on. */
  cut(): void {
    this.#numCuts++;
    this.#wake();
  }

  fail(reason: Failure): void {
    this.session.isBusy = false;
    this.session.messages.at(-1)!.status = "stopped";
    this.#push(reason);
  }

  /** @param position events that the reader has; with the turn's, their number is the last one's id */
  stream(position: number): AnswerStream {
    const { number } = this;
    let numRead = position;
    const numCuts = this.#numCuts;
    const next = async (): Promise<AnswerEvent | null> => {
      while (numRead === this.#events.length || numCuts < this.#numCuts) {
        if (numCuts < this.#numCuts || this.#isOver) return null;
        await new Promise<void>((resolve) => this.#waiting.push(resolve));
      }
      const event = this.#events[numRead++]!;
      if ("kind" in event) throw new RequestError(event);
      return event;
    };
    return {
      get lastEventId() {
        return numRead === 0 ? null : `${number}-${numRead}`;
      },
      async *[Symbol.asyncIterator]() {
        for (let event = await next(); event !== null; event = await next()) yield event;
      },
    };
  }

  #push(event: AnswerEvent | Failure): void {
    this.#events.push(event);
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

export class ScriptedClient implements ChatClient {
  readonly store = new Map<string, LoadedSession>();
  readonly turns: Turn[] = [];
  readonly log: string[] = [];
  /** Who watches which session, and whether they hear of anything: a socket that never opens says nothing. */
  readonly watches: { id: string; watcher: SessionWatcher }[] = [];
  isLive = false;
  /** The next requests whose name starts with this fail in this way. */
  broken: { name: string; reason: Failure } | null = null;

  async models() {
    this.#note("models");
    return ["demo", "large"].map((id) => ({ id, description: null, contextLength: 512, owner: null }));
  }

  async sessions() {
    this.#note("sessions");
    return [...this.store.values()].map(({ id, title, model }) => ({ id, title, model, updatedAtMs: 0 }));
  }

  async session(id: string) {
    this.#note(`session ${id}`);
    return structuredClone(this.#find(id));
  }

  async createSession(model: string | null) {
    this.#note(`create ${model}`);
    const session = {
      id: `s${this.store.size + 1}`,
      title: "New chat",
      model: model ?? "demo",
      isBusy: false,
      lastMessageId: 0,
      messages: [],
    };
    this.store.set(session.id, session);
    return { ...session, updatedAtMs: 0 };
  }

  async deleteSession(id: string) {
    this.#note(`delete ${id}`);
    this.#find(id);
    this.store.delete(id);
  }

  async sendMessage(id: string, content: string, signal: AbortSignal) {
    this.#note(`send ${id}`);
    const session = this.#find(id);
    if (session.isBusy) throw new RequestError(failure("busy", `Session ${id} is still answering.`));
    session.messages.push(
      { role: "user", text: content, status: "done" },
      { role: "assistant", text: "", status: "pending" },
    );
    session.title = session.messages[0]!.text;
    return this.#begin(session, signal);
  }

  async edit(id: string, index: number, before: string, content: string, signal: AbortSignal) {
    this.#note(`edit ${id} ${index}`);
    const session = this.#find(id);
    if (session.messages[index]?.text !== before) throw new RequestError(failure("refused", "Changed elsewhere."));
    session.messages.splice(
      index,
      Number.POSITIVE_INFINITY,
      { role: "user", text: content, status: "done" },
      { role: "assistant", text: "", status: "pending" },
    );
    return this.#begin(session, signal);
  }

  async regenerate(id: string, signal: AbortSignal) {
    this.#note(`regenerate ${id}`);
    const session = this.#find(id);
    session.messages.splice(-1, 1, { role: "assistant", text: "", status: "pending" });
    return this.#begin(session, signal);
  }

  async resume(id: string, lastEventId: string | null, signal: AbortSignal) {
    this.#note(`resume ${id} ${lastEventId}`);
    const turn = this.turns.findLast(({ session }) => session.id === id && session.isBusy);
    if (turn === undefined) return null;
    signal.addEventListener("abort", () => turn.cut());
    return turn.stream(Number(lastEventId?.split("-")[1] ?? 0));
  }

  async stop(id: string) {
    this.#note(`stop ${id}`);
    this.turns.findLast((turn) => turn.session.id === id && turn.session.isBusy)?.end("abort");
  }

  watch(id: string, watcher: SessionWatcher): () => void {
    const watch = { id, watcher };
    this.log.push(`watch ${id}`);
    this.watches.push(watch);
    const session = this.store.get(id);
    if (this.isLive && session !== undefined) watcher.opened(structuredClone(session));
    return () => {
      this.log.push(`unwatch ${id}`);
      this.watches.splice(this.watches.indexOf(watch), 1);
    };
  }

  breakDown(name = ""): void {
    this.broken = { name, reason: networkFailure() };
  }

  #begin(session: LoadedSession, signal: AbortSignal): AnswerStream {
    session.isBusy = true;
    session.lastMessageId += 2;
    const turn = new Turn(session, signal);
    this.turns.push(turn);
    for (const { id, watcher } of this.isLive ? this.watches : []) {
      if (id === session.id) watcher.turn({ turn: turn.number, answer: turn.stream(0) });
    }
    return turn.stream(0);
  }

  #find(id: string): LoadedSession {
    const session = this.store.get(id);
    if (session === undefined) throw new RequestError(failure("gone", `Session ${id} does not exist.`));
    return session;
  }

  #note(entry: string): void {
    if (this.broken !== null && entry.startsWith(this.broken.name)) throw new RequestError(this.broken.reason);
    this.log.push(entry);
  }
}
