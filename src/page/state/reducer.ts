/**
 * How the state changes: one pure function of state and action. Actions are facts ("the server said", "the reader
 * did"); an action for a conversation that is no longer there changes nothing, since answers may outlive their chat.
 */
import { type AnswerTiming, countDelta, startTiming, type TokenUsage } from "../chat/metrics.ts";
import { type Failure, isPassing } from "../net/failure.ts";
import {
  type Conversation,
  emptyConversation,
  type Message,
  type Model,
  type SessionSummary,
  type State,
  untakenText,
} from "./state.ts";

/** A session as the server has it. */
export interface LoadedSession {
  id: string;
  title: string;
  model: string;
  isBusy: boolean;
  /** 0 = it has none. */
  lastMessageId: number;
  messages: Pick<Message, "role" | "text" | "status">[];
}

export type Action =
  | { type: "modelsLoaded"; models: Model[] }
  | { type: "modelPicked"; model: string }
  | { type: "sessionsLoaded"; sessions: SessionSummary[] }
  | { type: "serverFailed"; failure: Failure }
  | { type: "onlineChanged"; isOnline: boolean }
  /** Shows a new, empty chat; an unused one is taken again. */
  | { type: "draftOpened" }
  /** Shows a session; its messages come with `sessionLoaded`. */
  | { type: "sessionOpened"; id: string }
  /** `timings`: what an earlier load of the page measured, by message. */
  | { type: "sessionLoaded"; session: LoadedSession; timings: (AnswerTiming | null)[] }
  | { type: "sessionCreated"; draftKey: string; id: string; title: string; model: string }
  | { type: "sessionDeleted"; id: string }
  | { type: "draftEdited"; key: string; text: string }
  | { type: "messageSent"; key: string; text: string }
  /** Other words in the place of a message; it and all that came after it make room. */
  | { type: "messageEdited"; key: string; index: number; text: string }
  /** The last question is asked again: its answer makes room for another one. */
  | { type: "answerDropped"; key: string }
  /** The message itself is on its way (its session exists): the clock of the first token starts. */
  | { type: "answerRequested"; key: string; nowMs: number }
  /** The server took the message. */
  | { type: "answerStarted"; key: string }
  | { type: "answerGrew"; key: string; text: string; nowMs: number }
  | { type: "usageCounted"; key: string; usage: TokenUsage }
  | { type: "answerEnded"; key: string; reason: string }
  | { type: "stopRequested"; key: string }
  /** The stream is lost but the server goes on. */
  | { type: "streamLost"; key: string }
  /** The turn (or the fetching of the session) is over, without success. */
  | { type: "conversationFailed"; key: string; failure: Failure }
  /** Something failed that will be tried again: the turn is not over. */
  | { type: "troubleNoted"; key: string; failure: Failure }
  | { type: "failureDismissed"; key: string };

export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "modelsLoaded":
      return { ...state, models: action.models, failure: null };
    case "modelPicked":
      return { ...state, preferredModel: action.model };
    case "sessionsLoaded":
      return { ...state, ...listSessions(state, action.sessions), failure: null };
    case "serverFailed":
      return { ...state, failure: action.failure };
    case "onlineChanged":
      return { ...state, isOnline: action.isOnline };
    case "draftOpened":
      return openDraft(state);
    case "sessionOpened":
      return openSession(state, action.id);
    case "sessionCreated":
      return adoptSession(state, action);
    case "sessionDeleted":
      return forgetSession(state, action.id);
    case "sessionLoaded":
      return change(state, action.session.id, (conversation) =>
        mergeSession(conversation, action.session, action.timings),
      );
    default:
      return change(state, action.key, (conversation) => reduceConversation(conversation, action));
  }
}

type ConversationAction = Extract<Action, { key: string }>;

function reduceConversation(conversation: Conversation, action: ConversationAction): Conversation {
  switch (action.type) {
    case "draftEdited":
      return { ...conversation, draft: action.text };
    case "messageSent":
      return beginTurn(conversation, action.text);
    case "messageEdited":
      return editMessage(conversation, action.index, action.text);
    case "answerDropped":
      return dropAnswer(conversation);
    case "answerRequested":
      return changeAnswer(conversation, (answer) => ({ ...answer, timing: startTiming(action.nowMs) }));
    case "answerStarted":
      return { ...acceptQuestion(conversation), phase: "streaming" };
    case "answerGrew":
      return changeAnswer(conversation, (answer) => ({
        ...answer,
        text: answer.text + action.text,
        timing: answer.timing && countDelta(answer.timing, action.nowMs),
      }));
    case "usageCounted":
      return changeAnswer(conversation, (answer) => ({
        ...answer,
        timing: answer.timing && { ...answer.timing, usage: action.usage },
      }));
    case "answerEnded":
      return endAnswer(conversation, action.reason);
    case "stopRequested":
      return { ...conversation, isStopping: true };
    case "streamLost":
      return { ...conversation, phase: "following" };
    case "conversationFailed":
      return fail(conversation, action.failure);
    case "troubleNoted":
      return { ...conversation, failure: action.failure };
    case "failureDismissed":
      return { ...conversation, failure: null, failedStep: null };
  }
}

function change(state: State, key: string, f: (conversation: Conversation) => Conversation): State {
  const conversation = state.conversations[key];
  if (conversation === undefined) return state;
  return { ...state, conversations: { ...state.conversations, [key]: f(conversation) } };
}

/** The server names a chat after its first message. */
function listSessions(state: State, sessions: SessionSummary[]): Pick<State, "sessions" | "conversations"> {
  const conversations = { ...state.conversations };
  for (const { id, title } of sessions) {
    const conversation = conversations[id];
    if (conversation !== undefined && conversation.title !== title) conversations[id] = { ...conversation, title };
  }
  return { sessions, conversations };
}

// Which conversation is on screen

function openDraft(state: State): State {
  const unused = Object.values(state.conversations).find((c) => c.id === null && c.messages.length === 0);
  if (unused !== undefined) return { ...state, currentKey: unused.key };
  const key = `draft-${state.numDrafts}`;
  return {
    ...state,
    conversations: { ...state.conversations, [key]: emptyConversation(key, null) },
    currentKey: key,
    numDrafts: state.numDrafts + 1,
  };
}

function openSession(state: State, id: string): State {
  const known = state.conversations[id];
  if (known !== undefined) return { ...state, currentKey: id };
  const summary = state.sessions?.find((session) => session.id === id);
  const opened: Conversation = {
    ...emptyConversation(id, id),
    phase: "loading",
    title: summary?.title ?? "",
    model: summary?.model ?? null,
  };
  return { ...state, conversations: { ...state.conversations, [id]: opened }, currentKey: id };
}

/** The draft becomes the session that the server made for it. */
function adoptSession(state: State, created: { draftKey: string; id: string; title: string; model: string }): State {
  const { [created.draftKey]: draft, ...others } = state.conversations;
  if (draft === undefined) return state;
  const { id, title, model } = created;
  const conversations = { ...others, [id]: { ...draft, key: id, id, title, model } };
  return { ...state, conversations, currentKey: state.currentKey === created.draftKey ? id : state.currentKey };
}

function forgetSession(state: State, id: string): State {
  const { [id]: _, ...conversations } = state.conversations;
  const sessions = state.sessions?.filter((session) => session.id !== id) ?? null;
  const rest = { ...state, conversations, sessions };
  return state.currentKey === id ? openDraft(rest) : rest;
}

// A turn

function beginTurn(conversation: Conversation, text: string): Conversation {
  const n = conversation.messages.length;
  const question: Message = { key: `${conversation.key}/${n}`, role: "user", text, status: "pending", timing: null };
  const answer: Message = {
    key: `${conversation.key}/${n + 1}`,
    role: "assistant",
    text: "",
    status: "pending",
    timing: null,
  };
  const messages = [...conversation.messages, question, answer];
  // A suggestion may be sent while something else is in the box.
  const draft = conversation.draft === text ? "" : conversation.draft;
  return {
    ...conversation,
    messages,
    phase: "sending",
    isStopping: false,
    failure: null,
    failedStep: null,
    draft,
    unsent: text,
  };
}

/** The turn begins as any other one, after what stays. */
function editMessage(conversation: Conversation, index: number, text: string): Conversation {
  const { messages, draft } = conversation;
  const edited = beginTurn({ ...conversation, messages: messages.slice(0, index) }, text);
  const question = edited.messages[index]!;
  // The old message's element must not be taken for the new one's: it may be showing the editor.
  const renamed = edited.messages.with(index, { ...question, key: `${question.key}/${messages.length}` });
  return { ...edited, messages: renamed, draft, replaced: messages };
}

function dropAnswer(conversation: Conversation): Conversation {
  const last = conversation.messages.at(-1);
  if (last?.role !== "assistant") return conversation;
  const answer: Message = { ...last, text: "", status: "pending", timing: null };
  const messages = [...conversation.messages.slice(0, -1), answer];
  return { ...conversation, messages, phase: "sending", isStopping: false, failure: null, failedStep: null };
}

function changeAnswer(conversation: Conversation, f: (answer: Message) => Message): Conversation {
  const last = conversation.messages.at(-1);
  if (last?.role !== "assistant" || last.status !== "pending") return conversation;
  return { ...conversation, messages: [...conversation.messages.slice(0, -1), f(last)] };
}

function acceptQuestion(conversation: Conversation): Conversation {
  const accept = (m: Message): Message => (m.role === "user" ? { ...m, status: "done" } : m);
  return { ...conversation, messages: conversation.messages.map(accept), replaced: null, unsent: null };
}

function endAnswer(conversation: Conversation, reason: string): Conversation {
  const status = statusOf(reason);
  const { failure } = conversation;
  const ended = changeAnswer(conversation, (answer) => ({ ...answer, status }));
  return {
    ...ended,
    phase: "idle",
    isStopping: false,
    failure: failure !== null && isPassing(failure) ? null : failure,
  };
}

/** `finish_reason` as an answer's status. An unknown one is an end like any other. */
export function statusOf(finishReason: string | null): Message["status"] {
  if (finishReason === "pending") return "pending";
  if (finishReason === "length") return "length";
  return finishReason === "abort" ? "stopped" : "done";
}

/**
 * Before the server took the message, its text goes back into the box and the turn has never been. After that, what
 * there is of the answer stays.
 */
function fail(conversation: Conversation, failure: Failure): Conversation {
  const ended: Conversation = { ...conversation, phase: "idle", isStopping: false, failure, failedStep: "loading" };
  if (conversation.unsent !== null) {
    const { replaced } = conversation;
    const messages = replaced ?? ended.messages.filter((m) => m.status !== "pending");
    // To send it again would not edit it again.
    const failedStep = replaced === null ? "sending" : "loading";
    return { ...ended, messages, draft: untakenText(conversation), replaced: null, unsent: null, failedStep };
  }
  if (conversation.messages.at(-1)?.status !== "pending") return ended;
  return { ...changeAnswer(ended, (answer) => ({ ...answer, status: "stopped" })), failedStep: "answering" };
}

/**
 * The server's messages win; what only the page knows (keys, timings) is kept where the message is the same one. A
 * message on its way whose stream was lost is either among them, or it goes back into the box.
 */
function mergeSession(
  conversation: Conversation,
  session: LoadedSession,
  timings: (AnswerTiming | null)[],
): Conversation {
  // A stream of our own is ahead of any state that was asked for.
  if (conversation.phase === "sending" || conversation.phase === "streaming") return conversation;
  const { failure, unsent } = conversation;
  const isTaken = unsent === null || session.messages.findLast((m) => m.role === "user")?.text === unsent;
  return {
    ...conversation,
    title: session.title,
    model: session.model,
    messages: session.messages.map((loaded, i) => {
      const message = { key: `${session.id}/s${i}`, timing: timings[i] ?? null, ...loaded };
      return mergeMessage(conversation.messages[i], message);
    }),
    phase: session.isBusy ? "following" : "idle",
    isStopping: session.isBusy && conversation.isStopping,
    failure: failure !== null && isOver(failure, session) ? null : failure,
    draft: isTaken ? conversation.draft : untakenText(conversation),
    replaced: null,
    unsent: null,
  };
}

/** The server has answered, so it can be reached; and it is busy only for as long as it says so. */
function isOver(failure: Failure, session: LoadedSession): boolean {
  return failure.kind === "busy" ? !session.isBusy : isPassing(failure);
}

function mergeMessage(known: Message | undefined, message: Message): Message {
  // An answer that had ended does not grow: it made room for another one.
  const isOther = known?.role === "assistant" && known.status !== "pending" && message.status === "pending";
  if (isOther) return message;
  const isBehind = known?.text.startsWith(message.text) ?? false;
  const isSame = known?.role === message.role && (isBehind || message.text.startsWith(known.text));
  if (!isSame) return message;
  // The server stores a growing answer now and then; a lost stream may have brought more of it.
  const text = message.status === "pending" && isBehind ? known.text : message.text;
  return { ...known, status: message.status, text };
}
