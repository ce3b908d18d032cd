/** GET /health: the process lives. GET /ready: the default model can answer now, or 503. */
import type { ApiOptions } from "./context.ts";
import type { Route } from "./routes.ts";

const RETRY_AFTER_S = 1;

export function healthRoutes({ models }: ApiOptions): Route[] {
  return [
    { path: "/health", methods: { GET: () => Response.json({ status: "ok" }) } },
    {
      path: "/ready",
      methods: {
        GET: async () => {
          const { ready, detail } = await models.ready();
          const body = { status: ready ? "ready" : "unavailable", ...detail };
          if (ready) return Response.json(body);
          return Response.json(body, { status: 503, headers: { "retry-after": String(RETRY_AFTER_S) } });
        },
      },
    },
  ];
}
