/**
 * What the page does when the reader acts: talks to the server and tells the store. One instance for the page; answers
 * of several conversations may run at once, each with its own stream. Clock and timer are injected.
 *
 * A lost stream is not a lost answer: the server goes on generating for its session, so the controller takes the stream
 * up where it broke, and asks until it can (`follow`); a reload in mid-answer finds its way back in the same way.
 *
 * Switching chats draws at once, not with the next frame: what is typed meanwhile belongs to the chat on screen.
 */
import type { AnswerStream, ChatClient } from "../net/client.ts";
import { type Failure, failureOfException, isPassing } from "../net/failure.ts";
import type { WatchedTurn } from "../net/session-socket.ts";
import { turnOfEvent } from "../net/wire.ts";
import type { Action, LoadedSession } from "../state/reducer.ts";
import type { Conversation } from "../state/state.ts";
import { currentConversation, isAnswering, modelOf } from "../state/state.ts";
import type { Store } from "../state/store.ts";
import { Drafts } from "./drafts.ts";
import type { Preferences } from "./preferences.ts";
import { SessionWatch } from "./session-watch.ts";
import type { TimingMemory } from "./timing-memory.ts";

/** Quick enough to read along; each further question waits longer, up to the maximum. */
const POLL_MS = 500;
const POLL_MAX_MS = 4000;
const POLL_GROWTH = 1.3;

/** How far a stream was read that broke. */
interface Broken {
  lastEventId: string | null;
  /** Length of the answer's text up to there. */
  numChars: number;
}

/** After a stop the server ends the stream by itself within a token; if it does not, the page lets go. */
const STOP_GRACE_MS = 2500;

export interface ControllerHost {
  client: ChatClient;
  store: Store;
  preferences: Preferences;
  timings: TimingMemory;
  nowMs(): number;
  sleep(ms: number): Promise<void>;
}

export class ChatController {
  readonly #client: ChatClient;
  readonly #store: Store;
  readonly #host: ControllerHost;
  readonly #streams = new Map<string, AbortController>();
  readonly #followed = new Set<string>();
  readonly #drafts: Drafts;
  readonly #watch: SessionWatch;
  /** The last turn of a session that was read here to where it ended or broke, and the last that was left for later. */
  readonly #readTurns = new Map<string, number>();
  readonly #missedTurns = new Map<string, number>();

  constructor(host: ControllerHost) {
    this.#client = host.client;
    this.#store = host.store;
    this.#host = host;
    this.#drafts = new Drafts(host.preferences);
    this.#watch = new SessionWatch({
      watch: (id, watcher) => host.client.watch(id, watcher),
      sleep: host.sleep,
      opened: (session) => this.#showNews(session),
      turn: (id, turn) => void this.#showTurn(id, turn),
      deleted: (id) => void this.reload(id),
    });
  }

  /** Models and sessions; also the way out of "the server can't be reached". */
  async refresh(): Promise<void> {
    try {
      const [models, sessions] = await Promise.all([this.#client.models(), this.#client.sessions()]);
      this.#store.dispatch({ type: "modelsLoaded", models });
      this.#store.dispatch({ type: "sessionsLoaded", sessions });
    } catch (error) {
      this.#store.dispatch({ type: "serverFailed", failure: failureOfException(error) });
    }
  }

  newChat(): void {
    this.#store.dispatch({ type: "draftOpened" });
    this.#restoreDraft(this.#current.key);
    this.#store.flush();
    this.#watch.show(this.#current.id);
  }

  async open(id: string): Promise<void> {
    const isKnown = this.#store.state.conversations[id] !== undefined;
    this.#store.dispatch({ type: "sessionOpened", id });
    if (!isKnown) this.#restoreDraft(id);
    this.#store.flush();
    await this.reload(id);
  }

  /** Asks for the session's state, and for news of it from then on, unless its answer is streaming here. */
  async reload(id: string): Promise<void> {
    const before = this.#store.state.conversations[id]?.messages;
    try {
      const session = await this.#client.session(id);
      // A turn that began in the meantime knows better than this answer.
      if (this.#store.state.conversations[id]?.messages !== before) return;
      this.#show(session);
      this.#watch.show(this.#current.id);
      if (session.isBusy) await this.#follow(id);
    } catch (error) {
      const reason = failureOfException(error);
      // What is on screen stays good; `refresh` has told of a server that cannot be reached.
      const isShown = this.#store.state.conversations[id]?.phase !== "loading";
      if (!(isShown && isPassing(reason))) this.#fail(id, reason);
    }
  }

  edit(key: string, text: string): void {
    this.#store.dispatch({ type: "draftEdited", key, text });
    this.#saveDraft(key);
  }

  pickModel(model: string): void {
    this.#host.preferences.saveModel(model);
    this.#store.dispatch({ type: "modelPicked", model });
  }

  /** Sends what is in the box, or the given text (a suggestion). */
  async send(text = this.#current.draft): Promise<void> {
    const conversation = this.#current;
    if (text.trim() === "" || isAnswering(conversation) || conversation.phase === "loading") return;
    this.#store.dispatch({ type: "messageSent", key: conversation.key, text });
    this.#saveDraft(conversation.key);
    await this.#turn(conversation, (id, signal) => this.#client.sendMessage(id, text, signal));
  }

  /**
   * Puts other words in the place of a message of the reader's; its answer and all after it make room.
   *
   * @returns null where that cannot be done now
   */
  editMessage(messageKey: string, text: string): Promise<void> | null {
    const conversation = this.#current;
    const index = conversation.messages.findIndex((message) => message.key === messageKey);
    if (text.trim() === "" || index < 0 || conversation.phase !== "idle") return null;
    const before = conversation.messages[index]!.text;
    this.#store.dispatch({ type: "messageEdited", key: conversation.key, index, text });
    this.#saveDraft(conversation.key);
    return this.#turn(conversation, (id, signal) => this.#client.edit(id, index, before, text, signal));
  }

  /** Takes the text in the box to a new chat and sends it there. */
  async sendInNewChat(): Promise<void> {
    const { key, draft } = this.#current;
    this.edit(key, "");
    this.newChat();
    await this.send(draft);
  }

  /** Does again what failed: fetch the chat, send what is back in the box, or ask the last question once more. */
  async retry(): Promise<void> {
    const { key, id, failedStep, draft } = this.#current;
    this.#store.dispatch({ type: "failureDismissed", key });
    await this.refresh();
    if (failedStep === "loading" && id !== null) await this.reload(id);
    if (failedStep === "sending") await this.send(draft);
    if (failedStep !== "answering") return;
    this.#store.dispatch({ type: "answerDropped", key });
    await this.#turn(this.#current, (id, signal) => this.#client.regenerate(id, signal));
  }

  async stop(): Promise<void> {
    const { key, id } = this.#current;
    if (!isAnswering(this.#current) || this.#current.isStopping) return;
    this.#store.dispatch({ type: "stopRequested", key });
    const stream = this.#streams.get(key);
    if (id !== null) await this.#client.stop(id).catch(() => {});
    await this.#host.sleep(STOP_GRACE_MS);
    stream?.abort();
  }

  async delete(id: string): Promise<void> {
    // What is deleted on purpose needs no news of it.
    if (this.#current.id === id) this.#watch.show(null);
    try {
      await this.#client.deleteSession(id);
    } catch (error) {
      const reason = failureOfException(error);
      if (reason.kind !== "gone") {
        this.#store.dispatch({ type: "serverFailed", failure: reason });
        this.#watch.show(this.#current.id);
        return;
      }
    }
    this.#streams.get(id)?.abort();
    this.#drafts.forget(id);
    this.#store.dispatch({ type: "sessionDeleted", id });
    this.#store.flush();
  }

  get #current(): Conversation {
    return currentConversation(this.#store.state);
  }

  async #turn(
    conversation: Conversation,
    ask: (id: string, signal: AbortSignal) => Promise<AnswerStream>,
  ): Promise<void> {
    const abort = new AbortController();
    let key = conversation.key;
    this.#streams.set(key, abort);
    try {
      const id = conversation.id ?? (await this.#createSession(key));
      this.#streams.delete(key);
      key = id;
      this.#streams.set(key, abort);
      await this.#stream(id, () => ask(id, abort.signal));
    } catch (error) {
      this.#streams.delete(key);
      await this.#failTurn(key, failureOfException(error), abort.signal.aborted);
    }
    this.#streams.delete(key);
    await this.#catchUp(key);
    await this.#refreshSessions();
  }

  async #createSession(draftKey: string): Promise<string> {
    const model = modelOf(this.#store.state, this.#store.state.conversations[draftKey]!);
    const created = await this.#client.createSession(model);
    this.#store.dispatch({ type: "sessionCreated", draftKey, ...created });
    this.#drafts.forget(null);
    this.#saveDraft(created.id);
    this.#watch.show(this.#current.id);
    return created.id;
  }

  async #stream(id: string, ask: () => Promise<AnswerStream>): Promise<void> {
    this.#store.dispatch({ type: "answerRequested", key: id, nowMs: this.#host.nowMs() });
    const answer = await ask();
    this.#store.dispatch({ type: "answerStarted", key: id });
    this.#saveDraft(id);
    // The list shows a new chat, by its name, while its first answer streams.
    void this.#refreshSessions();
    const broken = await this.#read(id, answer, 0);
    if (broken === null) return;
    this.#store.dispatch({ type: "streamLost", key: id });
    await this.#follow(id, broken);
  }

  /**
   * Shows an answer as it comes.
   *
   * @param start length of the answer's text before the stream; what is on screen already is not shown again
   * @returns null when the answer is whole
   */
  async #read(id: string, answer: AnswerStream, start: number): Promise<Broken | null> {
    const dispatch = (action: Action) => this.#store.dispatch(action);
    let reason: string | null = null;
    let numChars = start;
    for await (const event of answer) {
      if (event.type === "text") {
        const text = event.text.slice(Math.max(this.#shownText(id).length - numChars, 0));
        numChars += event.text.length;
        if (text !== "") dispatch({ type: "answerGrew", key: id, text, nowMs: this.#host.nowMs() });
      } else if (event.type === "usage") dispatch({ type: "usageCounted", key: id, usage: event.usage });
      else reason = event.reason;
    }
    this.#readTurns.set(id, turnOfEvent(answer.lastEventId));
    if (reason === null) return { lastEventId: answer.lastEventId, numChars };
    dispatch({ type: "answerEnded", key: id, reason });
    const messages = this.#store.state.conversations[id]?.messages ?? [];
    this.#host.timings.save(
      id,
      messages.map(({ timing }) => timing),
    );
    return null;
  }

  #shownText(id: string): string {
    return this.#store.state.conversations[id]?.messages.at(-1)?.text ?? "";
  }

  #show(session: LoadedSession): void {
    this.#store.dispatch({ type: "sessionLoaded", session, timings: this.#host.timings.recall(session.id) });
  }

  /**
   * Takes the running answer up until it is done. Outlives a server that restarts meanwhile.
   *
   * @param broken null = from the answer's beginning
   */
  async #follow(id: string, broken: Broken | null = null): Promise<void> {
    if (this.#followed.has(id)) return;
    this.#followed.add(id);
    let waitMs = POLL_MS;
    let position = broken;
    while (this.#isFollowing(id)) {
      try {
        const session = await this.#client.session(id);
        this.#show(session);
        if (!session.isBusy) break;
        position = await this.#resume(id, position);
      } catch (error) {
        const failure = failureOfException(error);
        if (!isPassing(failure)) this.#fail(id, failure);
        else this.#store.dispatch({ type: "troubleNoted", key: id, failure });
      }
      if (!this.#isFollowing(id)) break;
      await this.#host.sleep(waitMs);
      waitMs = Math.min(waitMs * POLL_GROWTH, POLL_MAX_MS);
    }
    this.#followed.delete(id);
    this.#saveDraft(id);
    await this.#catchUp(id);
  }

  /** What happened while nobody watched. A running turn is told of next. */
  #showNews(session: LoadedSession): void {
    const isKnown = session.lastMessageId < (this.#readTurns.get(session.id) ?? 0);
    const isIdle = this.#store.state.conversations[session.id]?.phase === "idle";
    if (isIdle && !session.isBusy && !isKnown) this.#show(session);
  }

  /** A turn that began here is read from its own stream; one that began elsewhere comes from the watch. */
  async #showTurn(id: string, { turn, answer }: WatchedTurn): Promise<void> {
    if (turn <= (this.#readTurns.get(id) ?? 0)) return;
    if (this.#store.state.conversations[id]?.phase !== "idle" || this.#followed.has(id)) {
      this.#missedTurns.set(id, turn);
      return;
    }
    this.#followed.add(id);
    let broken: Broken | null = null;
    try {
      const session = await this.#client.session(id);
      this.#show(session);
      if (session.lastMessageId === turn && this.#isFollowing(id)) broken = await this.#read(id, answer, 0);
    } catch (error) {
      this.#fail(id, failureOfException(error));
    }
    this.#followed.delete(id);
    if (this.#isFollowing(id)) await this.#follow(id, broken);
    else await this.#catchUp(id);
    await this.#refreshSessions();
  }

  /** Shows what began elsewhere while an answer was being read here. */
  async #catchUp(id: string): Promise<void> {
    const missed = this.#missedTurns.get(id) ?? 0;
    this.#missedTurns.delete(id);
    if (missed > (this.#readTurns.get(id) ?? 0)) await this.reload(id);
  }

  /** @returns where the stream broke off; null = it gave nothing, or the whole */
  async #resume(id: string, broken: Broken | null): Promise<Broken | null> {
    const abort = new AbortController();
    this.#streams.set(id, abort);
    try {
      const answer = await this.#client.resume(id, broken?.lastEventId ?? null, abort.signal);
      if (answer === null) return null;
      return await this.#read(id, answer, broken?.lastEventId ? broken.numChars : 0);
    } finally {
      this.#streams.delete(id);
    }
  }

  #isFollowing(id: string): boolean {
    return this.#store.state.conversations[id]?.phase === "following";
  }

  async #failTurn(key: string, failure: Failure, isAborted: boolean): Promise<void> {
    // Let go by the reader before the server had answered: it may have taken the message all the same.
    if (isAborted && this.#store.state.conversations[key]?.id) {
      this.#store.dispatch({ type: "streamLost", key });
      return this.#follow(key);
    }
    this.#fail(key, failure);
    // Someone else's turn (another tab) is running: show it.
    if (failure.kind === "busy") await this.reload(key);
  }

  #fail(key: string, failure: Failure): void {
    this.#store.dispatch({ type: "conversationFailed", key, failure });
    this.#saveDraft(key);
  }

  async #refreshSessions(): Promise<void> {
    const sessions = await this.#client.sessions().catch(() => null);
    if (sessions !== null) this.#store.dispatch({ type: "sessionsLoaded", sessions });
  }

  #saveDraft(key: string): void {
    this.#drafts.save(this.#store.state, key);
  }

  #restoreDraft(key: string): void {
    const text = this.#drafts.recall(this.#store.state.conversations[key]!);
    if (text !== "") this.#store.dispatch({ type: "draftEdited", key, text });
  }
}
