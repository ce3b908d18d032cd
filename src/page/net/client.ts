/**
 * The server's routes as methods. Every failure is a `RequestError` whose `failure` the page can show as it is.
 * `fetch` is injected, so that the tests bring their own server.
 */
import type { LoadedSession } from "../state/reducer.ts";
import type { Model, SessionSummary } from "../state/state.ts";
import { failure, failureOfResponse, networkFailure, RequestError } from "./failure.ts";
import { type OpenSocket, type SessionWatcher, watchSession } from "./session-socket.ts";
import { readSse } from "./sse.ts";
import {
  type AnswerEvent,
  decodeChunk,
  decodeErrorBody,
  decodeModel,
  decodeSession,
  decodeSummary,
  type WireModel,
  type WireSession,
  type WireSessionDetail,
} from "./wire.ts";

/** Calmer than the API's neutral default of 1, at which the small models that fit an isolate lose their thread. */
const SAMPLING = { temperature: 0.4, top_p: 0.9 };

const STREAM = { stream: true, stream_options: { include_usage: true }, ...SAMPLING };

/** An answer as it comes. A stream that is cut ends without "end". */
export interface AnswerStream extends AsyncIterable<AnswerEvent> {
  /** Of what has been read; null where the server gives its events no ids. */
  readonly lastEventId: string | null;
}

/** What the controller needs from a server. */
export interface ChatClient {
  models(): Promise<Model[]>;
  sessions(): Promise<SessionSummary[]>;
  session(id: string): Promise<LoadedSession>;
  /** @param model null = the server's choice */
  createSession(model: string | null): Promise<SessionSummary>;
  deleteSession(id: string): Promise<void>;
  /** Resolves when the server has taken the message; then gives the answer. */
  sendMessage(id: string, content: string, signal: AbortSignal): Promise<AnswerStream>;
  /**
   * Other words in the place of a message; what came after it is dropped.
   *
   * @param index of the message among those on screen
   * @param before what it says there: if it says something else by now, nothing is changed
   */
  edit(id: string, index: number, before: string, content: string, signal: AbortSignal): Promise<AnswerStream>;
  /** Another answer to the last question, in the place of the last one. */
  regenerate(id: string, signal: AbortSignal): Promise<AnswerStream>;
  /**
   * The running answer after an event, or from its beginning; null where there is nothing of it to come.
   *
   * @param lastEventId null = from the beginning
   */
  resume(id: string, lastEventId: string | null, signal: AbortSignal): Promise<AnswerStream | null>;
  stop(id: string): Promise<void>;
  /** Tells what happens in the session, whoever does it. @returns ends it */
  watch(id: string, watcher: SessionWatcher): () => void;
}

export function createClient(fetchOrigin: typeof fetch, openSocket: OpenSocket): ChatClient {
  async function request(
    method: string,
    path: string,
    body?: unknown,
    { signal, headers = {} }: { signal?: AbortSignal; headers?: Record<string, string> } = {},
  ): Promise<Response> {
    let response: Response;
    try {
      response = await fetchOrigin(path, {
        method,
        headers: { ...(body !== undefined && { "content-type": "application/json" }), ...headers },
        ...(signal && { signal }),
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
    } catch {
      throw new RequestError(networkFailure());
    }
    if (response.ok) return response;
    const { code, message } = decodeErrorBody(await response.text().catch(() => ""));
    throw new RequestError(failureOfResponse(response.status, code, message));
  }

  async function requestJson<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await request(method, path, body);
    try {
      return (await response.json()) as T;
    } catch {
      throw new RequestError(failureOfResponse(502, null, `${path} did not answer with JSON.`));
    }
  }

  const sessionPath = (id: string) => `/v1/sessions/${encodeURIComponent(id)}`;

  return {
    async models() {
      const { data } = await requestJson<{ data: WireModel[] }>("GET", "/v1/models");
      return data.map(decodeModel);
    },
    async sessions() {
      const { data } = await requestJson<{ data: WireSession[] }>("GET", "/v1/sessions");
      return data.map(decodeSummary);
    },
    async session(id) {
      return decodeSession(await requestJson<WireSessionDetail>("GET", sessionPath(id)));
    },
    async createSession(model) {
      return decodeSummary(await requestJson<WireSession>("POST", "/v1/sessions", model === null ? {} : { model }));
    },
    async deleteSession(id) {
      await request("DELETE", sessionPath(id));
    },
    async sendMessage(id, content, signal) {
      const response = await request("POST", `${sessionPath(id)}/messages`, { content, ...STREAM }, { signal });
      return readAnswer(response.body!, null);
    },
    async edit(id, index, before, content, signal) {
      const { messages } = await requestJson<WireSessionDetail>("GET", sessionPath(id));
      const message = messages.filter(({ role }) => role !== "system")[index];
      if (message?.role !== "user" || message.content !== before) {
        throw new RequestError(failure("refused", "The chat was changed elsewhere. Look at it before you edit it."));
      }
      const path = `${sessionPath(id)}/messages/${message.id}`;
      return readAnswer((await request("PUT", path, { content, ...STREAM }, { signal })).body!, null);
    },
    async regenerate(id, signal) {
      const response = await request("POST", `${sessionPath(id)}/regenerate`, STREAM, { signal });
      return readAnswer(response.body!, null);
    },
    async resume(id, lastEventId, signal) {
      const headers: Record<string, string> = lastEventId === null ? {} : { "last-event-id": lastEventId };
      const response = await request("GET", `${sessionPath(id)}/stream`, undefined, { signal, headers }).catch(
        (error) => {
          // The event is of an earlier turn: another tab has gone on.
          if (error instanceof RequestError && error.failure.kind === "refused") return null;
          throw error;
        },
      );
      return response === null || response.status === 204 ? null : readAnswer(response.body!, lastEventId);
    },
    async stop(id) {
      await request("POST", `${sessionPath(id)}/stop`);
    },
    watch: (id, watcher) => watchSession(openSocket, `${sessionPath(id)}/ws`, watcher),
  };
}

function readAnswer(body: ReadableStream<Uint8Array>, lastEventId: string | null): AnswerStream {
  const position = { lastEventId };
  return {
    get lastEventId() {
      return position.lastEventId;
    },
    [Symbol.asyncIterator]: () => answerEvents(body, position),
  };
}

/** A connection that breaks ends the answer early, it does not throw: the server still has the whole. */
async function* answerEvents(
  body: ReadableStream<Uint8Array>,
  position: { lastEventId: string | null },
): AsyncGenerator<AnswerEvent> {
  const events = readSse(body);
  try {
    while (true) {
      const next = await events.next().catch(() => null);
      if (next === null || next.done || next.value.data === "[DONE]") return;
      yield* decodeChunk(next.value.data);
      // Once all of it is read: whoever stops in the middle of an event has not seen it.
      position.lastEventId = next.value.lastEventId || position.lastEventId;
    }
  } finally {
    await events.return(undefined);
  }
}
