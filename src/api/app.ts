/**
 * The HTTP API over one `ModelService`: the same for every host. Compose it by handing it whole requests
 * (`app.fetch(request)`); it answers every path, unknown ones with a 404; refusals have the shape that the
 * path's clients read (`error-shapes.ts`).
 *
 * A request's way: its id and the access log → CORS → the route, which decodes and refuses, asks the service, encodes.
 * Content is never negotiated by `Accept`: clients send `application/json` and read a stream.
 */
import { Hono } from "hono";
import { unknownRoute } from "../protocol/errors.ts";
import type { ApiContext, ApiEnv, ApiOptions } from "./context.ts";
import { allowAnyOrigin, isPreflight, preflightResponse } from "./cors.ts";
import { embeddingRoutes } from "./embedding-routes.ts";
import { errorResponse, toApiError } from "./error-response.ts";
import { API_PATHS } from "./error-shapes.ts";
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
import { tgiRoutes } from "./tgi-routes.ts";
import { tokenizeRoutes } from "./tokenize-routes.ts";

export function createApi(options: ApiOptions): Hono<ApiEnv> {
  const { clock, log, randomId, sessions, authorize, names = PLAIN_NAMES } = options;
  const named = { ...options, models: namedModels(options.models, names) };
  const app = new Hono<ApiEnv>();

  app.use(async (context, next) => {
    const startedAtMs = clock.nowMs();
    const requestId = requestIdOf(context.req.raw, randomId);
    context.set("requestId", requestId);
    context.set("route", "-");
    await next();
    context.res.headers.set("x-request-id", requestId);
    const { method } = context.req;
    const route = context.get("route");
    const durationMs = clock.nowMs() - startedAtMs;
    log({ level: "info", event: "request", requestId, method, route, status: context.res.status, durationMs });
  });

  for (const path of API_PATHS) {
    app.use(path, async (context, next) => {
      if (isPreflight(context.req.raw)) return preflightResponse(context.req.raw);
      await next();
      allowAnyOrigin(context.res.headers);
    });

    // After CORS: a preflight brings no key, and a page may read why it was refused.
    app.use(path, (context, next) => {
      authorize?.(context.req.raw);
      return next();
    });
  }

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
    errorResponse(toApiError(cause, context.get("requestId"), context.get("route"), log), context.req.path),
  );
  return app;
}

/** A path is the client's text: the message shows only so much of it. */
function shortPath(context: ApiContext): string {
  const PATH_CHARS_MAX = 200;
  return context.req.path.slice(0, PATH_CHARS_MAX);
}
