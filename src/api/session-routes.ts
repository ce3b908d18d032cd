/**
 * Conversations that the server keeps. A session's id is the capability to it: whoever has the id may read, continue and
 * delete it, with the API key that it was made with where there are keys. The list is the owner's alone (`owner.ts`).
 */
import { notFound, upgradeRequired } from "../protocol/errors.ts";
import { decodeLastEventId } from "../protocol/session-socket.ts";
import {
  decodeSessionFork,
  decodeSessionInit,
  decodeSessionMessage,
  decodeSessionTurn,
  isSessionId,
  parseMessageId,
  type SessionTurnWireRequest,
  sessionBody,
  sessionDeletedBody,
  sessionListBody,
} from "../protocol/sessions.ts";
import { type EventPosition, IdentifiedStream } from "../protocol/sse-ids.ts";
import { answerFrame, bodyResponse, encodedResponse, markFallback } from "./answer-response.ts";
import { assertMayUse } from "./caller.ts";
import type { ApiContext, ApiHandler, ApiOptions } from "./context.ts";
import { socketProtocolOf } from "./credential.ts";
import { errorResponse } from "./error-response.ts";
import { CHAT_FORMAT } from "./generation-routes.ts";
import { readJsonBody } from "./json-body.ts";
import { firstModel } from "./known-model.ts";
import { PLAIN_NAMES } from "./model-names.ts";
import type { SessionQuestion, SessionService } from "./model-service.ts";
import { isOwnPage, ownerCookie, ownerOf } from "./owner.ts";
import type { Route } from "./routes.ts";
import { meteredTurn } from "./start-generation.ts";

/** Whose sessions: those of the caller's key. */
function sessionsOf(context: ApiContext, sessions: SessionService): SessionService {
  const { keyId } = context.get("caller");
  return keyId === null ? sessions : sessions.of(keyId);
}

/** Histories belong in no cache. */
const PRIVATE = { "cache-control": "no-store" };

/** Messages that an answer was made without (`truncation: "auto"`). */
const TRUNCATED_HEADER = "x-runnel-truncated-messages";

export function sessionRoutes(options: ApiOptions, sessions: SessionService): Route[] {
  return [
    { path: "/v1/sessions", methods: { GET: list(sessions), POST: create(options, sessions) } },
    {
      path: "/v1/sessions/:id",
      methods: {
        GET: async (context) =>
          Response.json(sessionBody(await sessionsOf(context, sessions).get(sessionId(context))), { headers: PRIVATE }),
        DELETE: async (context) => {
          const id = sessionId(context);
          await sessionsOf(context, sessions).delete(id);
          return Response.json(sessionDeletedBody(id));
        },
      },
    },
    { path: "/v1/sessions/:id/messages", methods: { POST: send(options, sessions) } },
    { path: "/v1/sessions/:id/messages/:message", methods: { PUT: edit(options, sessions) } },
    { path: "/v1/sessions/:id/regenerate", methods: { POST: regenerate(options, sessions) } },
    { path: "/v1/sessions/:id/stream", methods: { GET: resume(options, sessions) } },
    { path: "/v1/sessions/:id/ws", methods: { GET: connect(sessions) } },
    { path: "/v1/sessions/:id/fork", methods: { POST: fork(sessions) } },
    {
      path: "/v1/sessions/:id/stop",
      methods: {
        POST: async (context) =>
          Response.json({ stopped: await sessionsOf(context, sessions).stop(sessionId(context)) }),
      },
    },
  ];
}

function list(sessions: SessionService): ApiHandler {
  return async (context) => {
    const owner = ownerOf(context.req.raw, context.get("caller"));
    const summaries = owner === null ? [] : await sessions.list(owner);
    return Response.json(sessionListBody(summaries), { headers: PRIVATE });
  };
}

function create(options: ApiOptions, sessions: SessionService): ApiHandler {
  return async (context) => {
    const request = context.req.raw;
    const { model, ...init } = decodeSessionInit(await readJsonBody(request, {}));
    const caller = context.get("caller");
    const known = ownerOf(request, caller);
    const owner = known ?? (isOwnPage(request) ? options.randomId() : null);
    const asked = model ?? (await firstModel(options.models, caller)).id;
    assertMayUse(caller, asked);
    const create = (model: string) => sessionsOf(context, sessions).create({ ...init, model }, owner);
    const session = await (options.names ?? PLAIN_NAMES).run(asked, options.models, create);
    const headers = new Headers(PRIVATE);
    if (owner !== null && known === null) headers.set("set-cookie", ownerCookie(owner, request));
    return Response.json(sessionBody(session), { status: 201, headers });
  };
}

function send(options: ApiOptions, sessions: SessionService): ApiHandler {
  return async (context) => {
    const body = await readJsonBody(context.req.raw);
    const { content, ...turn } = decodeSessionMessage(body, context.get("requestId"));
    return answer(context, options, sessions, { kind: "message", content }, turn);
  };
}

function edit(options: ApiOptions, sessions: SessionService): ApiHandler {
  return async (context) => {
    const asked = context.req.param("message") ?? "";
    const messageId = parseMessageId(asked);
    if (messageId === null) throw notFound(`The message '${asked.slice(0, 64)}'`);
    const body = await readJsonBody(context.req.raw);
    const { content, ...turn } = decodeSessionMessage(body, context.get("requestId"));
    return answer(context, options, sessions, { kind: "edit", messageId, content }, turn);
  };
}

function regenerate(options: ApiOptions, sessions: SessionService): ApiHandler {
  return async (context) => {
    const turn = decodeSessionTurn(await readJsonBody(context.req.raw, {}), context.get("requestId"));
    return answer(context, options, sessions, { kind: "regenerate" }, turn);
  };
}

async function answer(
  context: ApiContext,
  options: ApiOptions,
  sessions: SessionService,
  question: SessionQuestion,
  { generate, style, waitsForTurn, truncates }: SessionTurnWireRequest,
): Promise<Response> {
  const id = sessionId(context);
  const frame = answerFrame(options, CHAT_FORMAT, style, 1, { session_id: id });
  const request = { question, request: generate, frame, waitsForTurn, truncates };
  const answered = await sessionsOf(context, sessions).send(id, request);
  const { turn, numTruncated, fallbackModel } = answered;
  context.set("grantHeaders", answered.headers ?? {});
  if (options.logsPrompts === true && question.kind !== "regenerate") {
    context.set("loggedPrompt", JSON.stringify(question.content));
  }
  const events = meteredTurn(context, options, answered.events);
  const response = style.stream
    ? encodedResponse(context, options, new IdentifiedStream(CHAT_FORMAT.stream(frame), turn, 0), events)
    : await bodyResponse(context, CHAT_FORMAT, frame, events);
  if (numTruncated > 0) response.headers.set(TRUNCATED_HEADER, String(numTruncated));
  return markFallback(response, fallbackModel);
}

function resume(options: ApiOptions, sessions: SessionService): ApiHandler {
  return async (context) => {
    const id = sessionId(context);
    const seen = lastEvent(context);
    const stream = await sessionsOf(context, sessions).stream(id, seen?.turn ?? null);
    if (stream === null) return nothingMore();
    const encoder = new IdentifiedStream(CHAT_FORMAT.stream(stream.frame), stream.turn, seen?.numEvents ?? 0);
    if (!stream.hasEnded) return encodedResponse(context, options, encoder, stream.events);
    let text = "";
    for (let event = await stream.events.next(); event !== null; event = await stream.events.next()) {
      text += encoder.encode(event);
    }
    return text === "" ? nothingMore() : new Response(text, { headers: encoder.headers });
  };
}

/** Also tells an `EventSource` to stop asking. */
function nothingMore(): Response {
  return new Response(null, { status: 204, headers: PRIVATE });
}

/** What the client has: by the header that an `EventSource` sends, or by a query for those who cannot set one. */
function lastEvent(context: ApiContext): EventPosition | null {
  return decodeLastEventId(context.req.header("last-event-id") ?? context.req.query("last_event_id") ?? "");
}

/**
 * A page may open a socket where it may POST: the id is the capability, and no cookie counts here, so that a page which
 * makes a browser connect can reach nothing that it could not reach by itself.
 */
function connect(sessions: SessionService): ApiHandler {
  return async (context) => {
    const id = sessionId(context);
    const position = lastEvent(context);
    const { method, path } = context.req;
    const isUpgrade = method === "GET" && context.req.header("upgrade")?.toLowerCase() === "websocket";
    if (!isUpgrade) return errorResponse(upgradeRequired(path), path, { upgrade: "websocket" });
    const response = await sessionsOf(context, sessions).connect(id, position);
    const protocol = socketProtocolOf(context.req.raw);
    if (protocol !== null) response.headers.set("sec-websocket-protocol", protocol);
    return response;
  };
}

function fork(sessions: SessionService): ApiHandler {
  return async (context) => {
    const request = context.req.raw;
    const asked = decodeSessionFork(await readJsonBody(request, {}));
    const owner = ownerOf(request, context.get("caller"));
    const session = await sessionsOf(context, sessions).fork(sessionId(context), asked, owner);
    return Response.json(sessionBody(session), { status: 201, headers: PRIVATE });
  };
}

function sessionId(context: ApiContext): string {
  const id = context.req.param("id") ?? "";
  // No object is woken for what cannot be an id.
  if (!isSessionId(id)) throw notFound(`The session '${id.slice(0, 64)}'`);
  return id;
}
