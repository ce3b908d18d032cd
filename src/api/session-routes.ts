/**
 * Conversations that the server keeps. A session's id is the capability to it: whoever has the id may read, continue and
 * delete it. The list is the owner's alone (`owner.ts`).
 */
import { notFound, unavailable } from "../protocol/errors.ts";
import {
  decodeSessionInit,
  decodeSessionMessage,
  isSessionId,
  sessionBody,
  sessionDeletedBody,
  sessionListBody,
} from "../protocol/sessions.ts";
import { answerResponse } from "./answer-response.ts";
import type { ApiContext, ApiHandler, ApiOptions } from "./context.ts";
import { CHAT_FORMAT } from "./generation-routes.ts";
import { readJsonBody } from "./json-body.ts";
import type { ModelService, SessionService } from "./model-service.ts";
import { isOwnPage, ownerCookie, ownerOf } from "./owner.ts";
import type { Route } from "./routes.ts";

/** Histories belong in no cache. */
const PRIVATE = { "cache-control": "no-store" };

export function sessionRoutes(options: ApiOptions, sessions: SessionService): Route[] {
  return [
    { path: "/v1/sessions", methods: { GET: list(sessions), POST: create(options, sessions) } },
    {
      path: "/v1/sessions/:id",
      methods: {
        GET: async (context) =>
          Response.json(sessionBody(await sessions.get(sessionId(context))), { headers: PRIVATE }),
        DELETE: async (context) => {
          const id = sessionId(context);
          await sessions.delete(id);
          return Response.json(sessionDeletedBody(id));
        },
      },
    },
    { path: "/v1/sessions/:id/messages", methods: { POST: send(options, sessions) } },
    {
      path: "/v1/sessions/:id/stop",
      methods: { POST: async (context) => Response.json({ stopped: await sessions.stop(sessionId(context)) }) },
    },
  ];
}

function list(sessions: SessionService): ApiHandler {
  return async (context) => {
    const owner = ownerOf(context.req.raw);
    const summaries = owner === null ? [] : await sessions.list(owner);
    return Response.json(sessionListBody(summaries), { headers: PRIVATE });
  };
}

function create(options: ApiOptions, sessions: SessionService): ApiHandler {
  return async (context) => {
    const request = context.req.raw;
    const { model, ...init } = decodeSessionInit(await readJsonBody(request, {}));
    const known = ownerOf(request);
    const owner = known ?? (isOwnPage(request) ? options.randomId() : null);
    const session = await sessions.create({ ...init, model: model ?? (await firstModel(options.models)) }, owner);
    const headers = new Headers(PRIVATE);
    if (owner !== null && known === null) headers.set("set-cookie", ownerCookie(owner, request));
    return Response.json(sessionBody(session), { status: 201, headers });
  };
}

function send(options: ApiOptions, sessions: SessionService): ApiHandler {
  return async (context) => {
    const id = sessionId(context);
    const { content, generate, style } = decodeSessionMessage(
      await readJsonBody(context.req.raw),
      context.get("requestId"),
    );
    const events = await sessions.send(id, { content, request: generate });
    const plan = { format: CHAT_FORMAT, style, numChoices: 1, extra: { session_id: id } };
    return answerResponse(context, options, plan, events);
  };
}

function sessionId(context: ApiContext): string {
  const id = context.req.param("id") ?? "";
  // No object is woken for what cannot be an id.
  if (!isSessionId(id)) throw notFound(`The session '${id.slice(0, 64)}'`);
  return id;
}

async function firstModel(models: ModelService): Promise<string> {
  const [model] = await models.models();
  if (model === undefined) throw unavailable("No model is installed. Add one with `npm run model -- add`.", 60);
  return model.id;
}
