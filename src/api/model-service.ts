/**
 * What the routes need from a host. The Worker and (later) the GPU origin each bring one; the routes know no more.
 */
import type { Embeddings, EmbedRequest } from "../protocol/embed.ts";
import type { GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { AnswerFrame } from "../protocol/openai/chunk-stream.ts";
import type { SessionInfo, SessionSummary } from "../protocol/session-info.ts";
import type { EventPosition } from "../protocol/sse-ids.ts";
import type { Detokenized, DetokenizeRequest, Tokenized, TokenizeRequest } from "../protocol/tokenize.ts";

export type { ModelInfo } from "../protocol/model-info.ts";
export type { SessionInfo, SessionMessage, SessionSummary } from "../protocol/session-info.ts";

/** One admitted generation: everything that could be refused has been. */
export interface EventStream {
  /** Next event, or null at the end. A rejection ends the stream, too. */
  next(): Promise<GenerateEvent | null>;
  /** The next event where it is here already, else null: whoever writes takes them all for one write. */
  poll?(): GenerateEvent | null;
  /** The client is gone: stop generating. Must not throw; a `next()` that is waiting settles soon. */
  cancel(): void;
  /** The model that answers in the place of the one that was asked for, which is not available; absent = none does. */
  readonly fallbackModel?: string;
  /** Where it answers, for logs and metrics: "edge" or "origin". */
  readonly tier?: string;
}

export interface ModelService {
  models(): Promise<ModelInfo[]>;
  /**
   * @param routingKey requests with the same key go to the same lane, so that they find each other's prefix
   * @param signal the client goes away before there is a stream
   */
  generate(request: GenerateRequest, routingKey: string | null, signal?: AbortSignal | null): Promise<EventStream>;
  /**
   * Vectors of prompts. Everything that can be wrong with one is an `ApiError`.
   * @param routingKey as in `generate`
   */
  embed(request: EmbedRequest, routingKey: string | null, signal?: AbortSignal | null): Promise<Embeddings>;
  /** Ids of a prompt as `generate` would make them. */
  tokenize(request: TokenizeRequest, signal?: AbortSignal | null): Promise<Tokenized>;
  detokenize(request: DetokenizeRequest, signal?: AbortSignal | null): Promise<Detokenized>;
  /** Ready to answer at once? `detail` says which model and build. */
  ready(): Promise<{ ready: boolean; detail: Record<string, unknown> }>;
}

export interface SessionService {
  /** The sessions of one API key, which nobody else can reach, whoever knows their ids. */
  of(keyId: string): SessionService;
  /** `owner` lists and owns sessions: an unguessable id kept by the browser; null = an unlisted session.
   * Throws 404 for an unknown model. */
  create(init: SessionInit, owner: string | null): Promise<SessionInfo>;
  list(owner: string): Promise<SessionSummary[]>;
  /** Throws 404 `ApiError` where there is none. */
  get(id: string): Promise<SessionInfo>;
  delete(id: string): Promise<void>;
  /**
   * Answers a question; throws 409 while another answer runs, or waits for its end where the request says so. The
   * generation outlives its reader. What is refused leaves the history as it was.
   */
  send(id: string, request: SessionTurnRequest): Promise<SessionAnswer>;
  /**
   * Events of the last turn, all of them from the first on, and those to come. A turn that a fault cut goes on.
   *
   * @param turn null = the running one, if there is one
   * @returns null where no turn runs and none was named
   * @throws ApiError 410 for a turn whose events are not kept
   */
  stream(id: string, turn: number | null): Promise<SessionStream | null>;
  /**
   * A new session with the history of this one.
   *
   * @param messageId the last message of it; null = all. 404 where there is no such message, 409 where it is not whole
   */
  fork(
    id: string,
    fork: { messageId: number | null; title: string | null },
    owner: string | null,
  ): Promise<SessionInfo>;
  /**
   * A socket that tells of all that happens in the session, and takes messages (`protocol/session-socket.ts`).
   *
   * @param position what the client has of the last turn; null = nothing
   * @returns the response to the upgrade, with status 101
   * @throws ApiError 404 where there is no such session, 429 where it has too many sockets
   */
  connect(id: string, position: EventPosition | null): Promise<Response>;
  /** Ends the running answer and keeps what it has; false where nothing ran. */
  stop(id: string): Promise<boolean>;
}

export interface SessionInit {
  model: string;
  /** System message, or null. */
  system: string | null;
  title: string | null;
}

/** What a session is to answer. */
export type SessionQuestion =
  | { kind: "message"; content: string }
  /** The last question once more; its answer, if it has one, is dropped. */
  | { kind: "regenerate" }
  /** Other words in the place of a user's message; what came after it is dropped. */
  | { kind: "edit"; messageId: number; content: string };

export interface SessionTurnRequest {
  question: SessionQuestion;
  /** A `GenerateRequest` without its prompt: the session knows the conversation. */
  request: Omit<GenerateRequest, "prompts" | "model" | "n" | "beams" | "echo">;
  /** Kept with the turn, so that a stream which is taken up later says the same. */
  frame: AnswerFrame;
  /** Wait for a running answer's end instead of being refused. */
  waitsForTurn: boolean;
  /** Leave the oldest turns out where the conversation does not fit the context. */
  truncates: boolean;
  /** What the turn took off its key's limits, to be put right at its end; absent = nothing. */
  charge?: { keyId: string; numTokens: number };
}

export interface SessionAnswer {
  events: EventStream;
  /** Grows with every turn of the session. */
  turn: number;
  numTruncated: number;
  /** See `EventStream`; null = none. */
  fallbackModel: string | null;
  /** What is left of the key's limits; absent = it has none. */
  headers?: Record<string, string>;
}

export interface SessionStream {
  /** From the turn's first event on. */
  events: EventStream;
  turn: number;
  frame: AnswerFrame;
  /** No event is to come: what `events` has is there at once. */
  hasEnded: boolean;
}
