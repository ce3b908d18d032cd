/**
 * The HTTP API over one `ModelService`: the same for every host. Compose it by handing it whole requests
 * (`app.fetch(request)`); it answers every path, unknown ones with a 404; refusals have the shape that the
 * path's clients read (`error-shapes.ts`).
 *
 * A request's way: its id and the access log → CORS → its key → the route, which decodes and refuses, asks the service,
 * encodes.
 * Content is never negotiated by `Accept`: clients send `application/json` and read a stream.
 */
import { Hono } from "hono";
import { unknownRoute } from "../protocol/errors.ts";
import { requestRecord } from "./access-log.ts";
import { ANYBODY } from "./caller.ts";
import type { ApiContext, ApiEnv, ApiOptions } from "./context.ts";
import { allowOrigin, assertOriginAllowed, isPreflight, preflightResponse } from "./cors.ts";
import { embeddingRoutes } from "./embedding-routes.ts";
import { errorResponse, toApiError } from "./error-response.ts";
import { generationRoutes } from "./generation-routes.ts";
import { healthRoutes } from "./health-routes.ts";
import { namedModels, PLAIN_NAMES } from "./model-names.ts";
import { modelRoutes } from "./model-routes.ts";
import { ollamaModelRoutes } from "./ollama-model-routes.ts";
import { ollamaRoutes } from "./ollama-routes.ts";
import { requestIdOf } from "./request-id.ts";
import { responseRoutes } from "./response-routes.ts";
import { addRoute } from "./routes.ts";
import { sessionRoutes } from "./session-routes.ts";
import { inBackground } from "./start-generation.ts";
import { tgiRoutes } from "./tgi-routes.ts";
import { tokenizeRoutes } from "./tokenize-routes.ts";

/** They tell strangers nothing, or ask for a key of their own. */
const OPEN_PATHS: readonly string[] = ["/health", "/ready", "/metrics", "/metrics/history"];

export function createApi(options: ApiOptions): Hono<ApiEnv> {
  const { clock, randomId, sessions, authorize, cors = "any", names = PLAIN_NAMES } = options;
  const named = { ...options, models: namedModels(options.models, names) };
  const app = new Hono<ApiEnv>();

  app.use(async (context, next) => {
    const requestId = requestIdOf(context.req.raw, randomId);
    context.set("requestId", requestId);
    context.set("route", "-");
    context.set("arrivedAtMs", clock.nowMs());
    context.set("caller", ANYBODY);
    context.set("isAdmitted", false);
    context.set("meter", null);
    context.set("grantHeaders", {});
    context.set("loggedPrompt", null);
    await next();
    const { headers } = context.res;
    headers.set("x-request-id", requestId);
    headers.set("x-content-type-options", "nosniff");
    for (const [name, value] of Object.entries(context.get("grantHeaders"))) headers.set(name, value);
    answered(context, options);
  });

  app.use(async (context, next) => {
    const request = context.req.raw;
    if (OPEN_PATHS.includes(context.req.path)) return next();
    assertOriginAllowed(cors, request);
    if (isPreflight(request)) return preflightResponse(cors, request);
    await next();
    allowOrigin(cors, request, context.res.headers);
  });

  // After CORS: a preflight brings no key, and a page may read why it was refused. Whatever is not open to all is closed,
  // so that a route which is added needs no thought to be.
  app.use(async (context, next) => {
    if (OPEN_PATHS.includes(context.req.path)) return next();
    if (authorize !== undefined) context.set("caller", await authorize(context.req.raw));
    context.set("isAdmitted", true);
    return next();
  });

  const routes = [
    ...healthRoutes(options),
    ...modelRoutes(named),
    ...generationRoutes(named),
    ...responseRoutes(named),
    ...ollamaRoutes(named),
    ...ollamaModelRoutes(named),
    ...embeddingRoutes(named),
    ...tokenizeRoutes(named),
    ...tgiRoutes(named),
    ...(sessions === null ? [] : sessionRoutes(named, sessions)),
  ];
  for (const route of routes) addRoute(app, route);

  app.notFound((context) => errorResponse(unknownRoute(context.req.method, shortPath(context)), context.req.path));
  app.onError((cause, context) =>
    errorResponse(toApiError(cause, context.get("requestId"), context.get("route"), options.log), context.req.path),
  );
  return app;
}

/** Logs and counts the request: now, or when the answer that is being streamed has ended. */
function answered(context: ApiContext, { clock, log, observer }: ApiOptions): void {
  const meter = context.get("meter");
  const { status } = context.res;
  const durationMs = clock.nowMs() - context.get("arrivedAtMs");
  const finish = async () => {
    log(requestRecord(context, status, durationMs));
    observer?.requestEnded({ route: context.get("route"), status, model: meter?.summary.model ?? null });
    // What strangers ask is counted, and passed on with the next request that is none: they make nobody work.
    if (context.get("isAdmitted")) await observer?.flush();
  };
  const isStreaming = meter !== null && !meter.hasEnded;
  inBackground(context, isStreaming ? meter.ended.then(finish) : finish());
}

/** A path is the client's text: the message shows only so much of it. */
function shortPath(context: ApiContext): string {
  const PATH_CHARS_MAX = 200;
  return context.req.path.slice(0, PATH_CHARS_MAX);
}
