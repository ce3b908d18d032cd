/**
 * What the routes need from a host. The Worker and (later) the GPU origin each bring one; the routes know no more.
 */
import type { GenerateEvent, GenerateRequest } from "../protocol/generate.ts";
import type { ModelInfo } from "../protocol/model-info.ts";
import type { SessionInfo, SessionSummary } from "../protocol/session-info.ts";

export type { ModelInfo } from "../protocol/model-info.ts";
export type { SessionInfo, SessionMessage, SessionSummary } from "../protocol/session-info.ts";

/** One admitted generation: everything that could be refused has been. */
export interface EventStream {
  /** Next event, or null at the end. A rejection ends the stream, too. */
  next(): Promise<GenerateEvent | null>;
  /** The client is gone: stop generating. Must not throw; a `next()` that is waiting settles soon. */
  cancel(): void;
}

export interface ModelService {
  models(): Promise<ModelInfo[]>;
  /** @param routingKey requests with the same key go to the same lane, so that they find each other's prefix */
  generate(request: GenerateRequest, routingKey: string | null): Promise<EventStream>;
  /** Ready to answer at once? `detail` says which model and build. */
  ready(): Promise<{ ready: boolean; detail: Record<string, unknown> }>;
}

export interface SessionService {
  /** `owner` lists and owns sessions: an unguessable id kept by the browser; null = an unlisted session.
   * Throws 404 for an unknown model. */
  create(init: SessionInit, owner: string | null): Promise<SessionInfo>;
  list(owner: string): Promise<SessionSummary[]>;
  /** Throws 404 `ApiError` where there is none. */
  get(id: string): Promise<SessionInfo>;
  delete(id: string): Promise<void>;
  /** Appends the user's message and answers; throws 409 while another answer runs. The generation outlives its reader. */
  send(id: string, request: SessionMessageRequest): Promise<EventStream>;
  /** Ends the running answer and keeps what it has; false where nothing ran. */
  stop(id: string): Promise<boolean>;
}

export interface SessionInit {
  model: string;
  /** System message, or null. */
  system: string | null;
  title: string | null;
}

/** A `GenerateRequest` without its prompt: the session knows the conversation. */
export interface SessionMessageRequest {
  content: string;
  request: Omit<GenerateRequest, "prompts" | "model" | "n" | "echo">;
}
