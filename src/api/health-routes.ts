/**
 * GET /health: the process lives. GET /ready: the default model can answer now, or 503. Both for everybody, as probes have
 * no key; what only operators need to know of the engine is told to those who have one.
 */
import type { ApiContext, ApiOptions } from "./context.ts";
import type { Route } from "./routes.ts";

const RETRY_AFTER_S = 1;
const RETRY_HEADERS = { "retry-after": String(RETRY_AFTER_S), "retry-after-ms": String(RETRY_AFTER_S * 1000) };

/** Of what `ready` tells, also of each in a list of models. */
const PUBLIC_FIELDS: readonly string[] = ["model", "id", "state", "draining", "engine", "message", "code", "retryable"];

export function healthRoutes(options: ApiOptions): Route[] {
  return [
    { path: "/health", methods: { GET: () => Response.json({ status: "ok" }) } },
    {
      path: "/ready",
      methods: {
        GET: async (context) => {
          const { ready, detail } = await options.models.ready();
          const shown = (await isKnown(context, options)) ? detail : onlyPublic(detail);
          const body = { status: ready ? "ready" : "unavailable", ...shown };
          if (ready) return Response.json(body);
          return Response.json(body, { status: 503, headers: RETRY_HEADERS });
        },
      },
    },
  ];
}

async function isKnown(context: ApiContext, { authorize }: ApiOptions): Promise<boolean> {
  try {
    await authorize?.(context.req.raw);
    return true;
  } catch {
    return false;
  }
}

function onlyPublic({ models, ...detail }: Record<string, unknown>): Record<string, unknown> {
  const shown = Object.fromEntries(Object.entries(detail).filter(([name]) => PUBLIC_FIELDS.includes(name)));
  return Array.isArray(models) ? { ...shown, models: models.map(onlyPublic) } : shown;
}
