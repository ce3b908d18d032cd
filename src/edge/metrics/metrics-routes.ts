/**
 * GET /metrics: Prometheus's text. GET /metrics/history: the dashboard's numbers. Both for who has METRICS_TOKEN or any API
 * key; without either of those set, for this machine only, as everything else (`keys/authorize.ts`).
 */
import { credentialOf, sameBytes, sha256 } from "../../api/credential.ts";
import type { Route } from "../../api/routes.ts";
import { unauthorized } from "../../protocol/errors.ts";
import type { Env } from "../env.ts";
import { apiKeysOf } from "../keys/api-keys.ts";
import { authorize } from "../keys/authorize.ts";
import { METRICS_CONTENT_TYPE } from "./exposition.ts";
import { HISTORY_BOUNDS_S, HISTORY_MS, HISTORY_STEP_MS } from "./history.ts";
import { HUB_NAME } from "./hub-state.ts";
import { isolateMetrics } from "./isolate-metrics.ts";

const NEEDS_TOKEN = "The metrics need their token. Send 'authorization: Bearer' with the value of METRICS_TOKEN.";

const PRIVATE = { "cache-control": "no-store" };

export function metricsRoutes(env: Env, version: string): Route[] {
  const hub = async (request: Request) => {
    await authorizeReader(env, request);
    // What this isolate holds back is as fresh as anybody's.
    await isolateMetrics.flush(env);
    return env.METRICS_HUB.getByName(HUB_NAME);
  };
  return [
    {
      path: "/metrics",
      methods: {
        GET: async (context) => {
          const text = await (await hub(context.req.raw)).text(version);
          return new Response(text, { headers: { ...PRIVATE, "content-type": METRICS_CONTENT_TYPE } });
        },
      },
    },
    {
      path: "/metrics/history",
      methods: {
        GET: async (context) => {
          const points = await (await hub(context.req.raw)).history();
          const frame = { now_ms: Date.now(), span_ms: HISTORY_MS, step_ms: HISTORY_STEP_MS };
          return Response.json({ ...frame, first_token_bounds_s: HISTORY_BOUNDS_S, points }, { headers: PRIVATE });
        },
      },
    },
  ];
}

/** @throws ApiError 401 */
async function authorizeReader(env: Env, request: Request): Promise<void> {
  const { METRICS_TOKEN: token } = env;
  const given = credentialOf(request);
  if (token && given !== null && sameBytes(await sha256(token), await sha256(given))) return;
  if (token && apiKeysOf(env).length === 0) throw unauthorized(NEEDS_TOKEN);
  await authorize(env, request, Date.now());
}
