/** The API over HTTP, with `/metrics` beside it. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdaptorServer } from "@hono/node-server";
import { createApi } from "../api/app.ts";
import { systemClock } from "../api/clock.ts";
import type { Log } from "../api/log.ts";
import type { ModelNames } from "../api/model-names.ts";
import { randomHexId } from "../api/random-id.ts";
import { addRoute } from "../api/routes.ts";
import { keyCheck } from "./api-key.ts";
import type { OriginMetrics } from "./metrics.ts";
import type { OriginModels } from "./origin-models.ts";

/** Longer than proxies keep a connection that nothing happens on: they close it, and never find it closed. */
const KEEP_ALIVE_MS = 75_000;
const CHECK_MS = 20;

export interface HttpServerOptions {
  models: OriginModels;
  names: ModelNames;
  metrics: OriginMetrics;
  /** null = everybody may ask. */
  apiKey: string | null;
  host: string;
  port: number;
  log: Log;
}

export interface HttpServer {
  port: number;
  /** Takes no connection any more, lets what is being written arrive, and cuts the rest off. */
  close(graceMs: number): Promise<void>;
}

/** Listens. @throws Error where the port cannot be had */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { models, names, metrics, apiKey, host, port, log } = options;
  const authorize = apiKey === null ? null : keyCheck(apiKey);
  const api = createApi({
    models,
    sessions: null,
    clock: systemClock,
    randomId: randomHexId,
    log,
    names,
    ...(authorize !== null && { authorize }),
  });
  const { registry } = metrics;
  addRoute(api, {
    path: "/metrics",
    methods: {
      GET: async (context) => {
        await authorize?.(context.req.raw);
        return new Response(await registry.metrics(), { headers: { "content-type": registry.contentType } });
      },
    },
  });
  // The platform's own Request and Response: what the routes do with them is the same in every host.
  const answer = async (request: Request) => withoutAbort(await api.fetch(request), request.signal);
  const server = createAdaptorServer({ fetch: answer, overrideGlobalObjects: false }) as Server;
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  let numAnswering = 0;
  server.on("request", (_, response) => {
    numAnswering++;
    response.once("close", () => numAnswering--);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (cause: NodeJS.ErrnoException) => {
      const why = cause.code === "EADDRINUSE" ? "is in use" : `cannot be opened (${cause.code})`;
      reject(new Error(`Port ${port} of ${host} ${why}. Choose another one with --port.`, { cause }));
    });
    server.listen(port, host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    async close(graceMs) {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      const deadlineMs = performance.now() + graceMs;
      while (numAnswering > 0 && performance.now() < deadlineMs) {
        await new Promise((resolve) => setTimeout(resolve, CHECK_MS));
      }
      // Node tells idle connections from busy ones, but takes those that never asked for anything for busy.
      server.closeAllConnections();
      await closed;
    },
  };
}

/**
 * The adapter writes an error to the log for each stream that fails, also where it does because its client is gone, which
 * is nothing to report: such a stream just ends.
 */
function withoutAbort(response: Response, signal: AbortSignal): Response {
  if (response.body === null || !isStream(response)) return response;
  const reader = response.body.getReader();
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const { done, value } = await reader.read();
          if (done) controller.close();
          else controller.enqueue(value);
        } catch (cause) {
          if (!signal.aborted) throw cause;
          controller.close();
        }
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
  return new Response(body, response);
}

function isStream(response: Response): boolean {
  const type = response.headers.get("content-type") ?? "";
  return type.startsWith("text/event-stream") || type.startsWith("application/x-ndjson");
}
