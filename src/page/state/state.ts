/**
 * Everything the page knows, as plain data. Views draw it, the reducer changes it, nothing else holds state except
 * what belongs to a widget alone (scroll position, an open drawer).
 */
import type { AnswerTiming } from "../chat/metrics.ts";
import type { Failure } from "../net/failure.ts";

export interface Model {
  id: string;
  description: string | null;
  /** Longest prompt and answer together, in tokens; null where the server does not say. */
  contextLength: number | null;
  /** Who runs it: the edge itself, or an origin by its name; null where the server does not say. */
  owner: string | null;
}

export interface SessionSummary {
  id: string;
  title: string;
  model: string;
  updatedAtMs: number;
}

export type MessageStatus =
  /** A user message on its way, or an answer that still grows. */
  | "pending"
  /** Complete. */
  | "done"
  /** The answer reached its token limit. */
  | "length"
  /** The reader stopped the answer, or a fault cut it: what there was is kept. */
  | "stopped";

export interface Message {
  /** Stable for as long as the page shows the message, so that its DOM and the reader's selection live on. */
  key: string;
  role: "user" | "assistant";
  text: string;
  status: MessageStatus;
  /** Only of answers that this page saw streaming. */
  timing: AnswerTiming | null;
}

export type Phase =
  /** Its messages are being fetched. */
  | "loading"
  /** Nothing is going on. */
  | "idle"
  /** Message posted, no byte of the answer yet. */
  | "sending"
  | "streaming"
  /** An answer is being made, but its stream is lost or went to an earlier page: ask until it is done. */
  | "following";

/** What was being tried when a conversation failed, so what "try again" means. */
export type FailedStep = "loading" | "sending" | "answering";

export interface Conversation {
  /** The session's id, or "draft-N" before the server knows of it. */
  key: string;
  id: string | null;
  title: string;
  /** null = the preferred one, until the first message settles it. */
  model: string | null;
  messages: Message[];
  phase: Phase;
  /** The reader asked for the running answer to end. */
  isStopping: boolean;
  failure: Failure | null;
  failedStep: FailedStep | null;
  /** What is in the message box. */
  draft: string;
  /** The messages before an edit that is on its way: they come back if the server does not take it. */
  replaced: Message[] | null;
  /** A message that is on its way: it goes back into the box if the server does not take it. */
  unsent: string | null;
}

export interface State {
  models: Model[];
  /** Chosen for new chats; null = the server's first. */
  preferredModel: string | null;
  /** null = not fetched yet. */
  sessions: SessionSummary[] | null;
  /** Why models or sessions could not be fetched. */
  failure: Failure | null;
  conversations: Record<string, Conversation>;
  /** Key of the conversation on screen. */
  currentKey: string;
  isOnline: boolean;
  numDrafts: number;
}

export function emptyConversation(key: string, id: string | null): Conversation {
  return {
    key,
    id,
    title: "",
    model: null,
    messages: [],
    phase: "idle",
    isStopping: false,
    failure: null,
    failedStep: null,
    draft: "",
    replaced: null,
    unsent: null,
  };
}

export function initialState(preferredModel: string | null, isOnline: boolean): State {
  return {
    models: [],
    preferredModel,
    sessions: null,
    failure: null,
    conversations: { "draft-0": emptyConversation("draft-0", null) },
    currentKey: "draft-0",
    isOnline,
    numDrafts: 1,
  };
}

export function currentConversation(state: State): Conversation {
  return state.conversations[state.currentKey]!;
}

/** An answer is being made, so no other message can be sent. */
export function isAnswering(conversation: Conversation): boolean {
  return conversation.phase !== "idle" && conversation.phase !== "loading";
}

/** All that was typed and not yet taken by the server: what a reload must bring back. */
export function untakenText(conversation: Conversation): string {
  return [conversation.unsent, conversation.draft].filter((text) => text !== null && text !== "").join("\n\n");
}

/** The model that the next message of this conversation goes to; null while none is known. */
export function modelOf(state: State, conversation: Conversation): string | null {
  if (conversation.model !== null) return conversation.model;
  const isServed = state.models.some((model) => model.id === state.preferredModel);
  return isServed ? state.preferredModel : (state.models[0]?.id ?? null);
}
