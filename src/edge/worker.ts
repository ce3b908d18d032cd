/**
 * The Worker: routes over the edge's services, and the Durable Object classes that the bindings name. Static assets are
 * served before it is asked, except on the paths in `run_worker_first`; what is left over gets the API's 404.
 */
import { createApi } from "../api/app.ts";
import { systemClock } from "../api/clock.ts";
import { consoleLog } from "../api/log.ts";
import { parseModelNames } from "../api/model-names.ts";
import { randomHexId } from "../api/random-id.ts";
import { addRoute } from "../api/routes.ts";
import { VERSION } from "../protocol/version.ts";
import { corsPolicyOf } from "./cors-setting.ts";
import type { Env } from "./env.ts";
import { edgeResponses } from "./kept-responses.ts";
import { authorize } from "./keys/authorize.ts";
import { edgeLimits } from "./limits/edge-limits.ts";
import { edgeObserver } from "./metrics/isolate-metrics.ts";
import { metricsRoutes } from "./metrics/metrics-routes.ts";
import { edgeModels } from "./model-router.ts";
import { edgeSessions } from "./services.ts";

export { ChatSession } from "./chat-session.ts";
export { EngineLane } from "./engine-lane.ts";
export { RateLimiter } from "./limits/rate-limiter.ts";
export { MetricsHub } from "./metrics/metrics-hub.ts";
export { ResponseConversation } from "./response-conversation.ts";
export { SessionDirectory } from "./session-directory.ts";

let api: ReturnType<typeof createApi> | null = null;

export default {
  fetch(request, env, ctx) {
    // Bindings are the same for every request of an isolate, so the routes are built once.
    api ??= buildApi(env);
    return api.fetch(request, env, ctx);
  },
} satisfies ExportedHandler<Env>;

function buildApi(env: Env): ReturnType<typeof createApi> {
  const app = createApi({
    models: edgeModels(env),
    sessions: edgeSessions(env),
    responses: edgeResponses(env),
    names: parseModelNames(env.MODEL_ALIASES, env.MODEL_FALLBACK),
    clock: systemClock,
    randomId: randomHexId,
    log: consoleLog,
    authorize: (request) => authorize(env, request, Date.now()),
    limits: edgeLimits(env),
    cors: corsPolicyOf(env),
    observer: edgeObserver(env),
    logsPrompts: env.LOG_PROMPTS === "1",
  });
  for (const route of metricsRoutes(env, VERSION)) addRoute(app, route);
  return app;
}
