/**
 * The Worker: routes over the edge's services, and the Durable Object classes that the bindings name. Static assets are
 * served before it is asked, except on the paths in `run_worker_first`; what is left over gets the API's 404.
 */
import { createApi } from "../api/app.ts";
import { systemClock } from "../api/clock.ts";
import { consoleLog } from "../api/log.ts";
import { parseModelNames } from "../api/model-names.ts";
import { randomHexId } from "../api/random-id.ts";
import type { Env } from "./env.ts";
import { edgeResponses } from "./kept-responses.ts";
import { edgeModels } from "./model-router.ts";
import { edgeSessions } from "./services.ts";

export { ChatSession } from "./chat-session.ts";
export { EngineLane } from "./engine-lane.ts";
export { ResponseConversation } from "./response-conversation.ts";
export { SessionDirectory } from "./session-directory.ts";

let api: ReturnType<typeof createApi> | null = null;

export default {
  fetch(request, env) {
    // Bindings are the same for every request of an isolate, so the routes are built once.
    api ??= createApi({
      models: edgeModels(env),
      sessions: edgeSessions(env),
      responses: edgeResponses(env),
      clock: systemClock,
      randomId: randomHexId,
      log: consoleLog,
      names: parseModelNames(env.MODEL_ALIASES, env.MODEL_FALLBACK),
    });
    return api.fetch(request);
  },
} satisfies ExportedHandler<Env>;
