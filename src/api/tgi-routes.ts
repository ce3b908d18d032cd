/**
 * TGI's routes: POST /generate and /generate_stream, POST / for both of them, and GET /info. Where a host has a page at
 * `/`, as the edge has, requests for that path do not come here.
 */
import { tgiBody } from "../protocol/tgi/answer.ts";
import { decodeTgiRequest } from "../protocol/tgi/generate-request.ts";
import { tgiInfoBody } from "../protocol/tgi/info.ts";
import { TgiStream } from "../protocol/tgi/stream.ts";
import { encodedResponse, markFallback } from "./answer-response.ts";
import { collectAnswer } from "./collect-answer.ts";
import type { ApiHandler, ApiOptions } from "./context.ts";
import { readJsonBody } from "./json-body.ts";
import { firstModel } from "./known-model.ts";
import type { Route } from "./routes.ts";
import { routingKeyOf } from "./routing-key.ts";
import { startGeneration } from "./start-generation.ts";

export function tgiRoutes(options: ApiOptions): Route[] {
  return [
    { path: "/generate", methods: { POST: generate(options, false, (body) => body) } },
    { path: "/generate_stream", methods: { POST: generate(options, true, (body) => body) } },
    {
      path: "/",
      methods: {
        // What Ollama says here, and its clients look for.
        GET: () => new Response("Ollama is running", { headers: { "content-type": "text/plain; charset=utf-8" } }),
        POST: generate(options, null, (body) => [body]),
      },
    },
    {
      path: "/info",
      methods: {
        GET: async (context) => Response.json(tgiInfoBody(await firstModel(options.models, context.get("caller")))),
      },
    },
  ];
}

/**
 * @param stream null = as the body says
 * @param whole what an answer that is not streamed is wrapped in
 */
function generate(options: ApiOptions, stream: boolean | null, whole: (body: object) => object): ApiHandler {
  return async (context) => {
    const { signal } = context.req.raw;
    const request = decodeTgiRequest(await readJsonBody(context.req.raw), context.get("requestId"), stream);
    const generate = {
      ...request.generate,
      model: request.model ?? (await firstModel(options.models, context.get("caller"))).id,
    };
    const events = await startGeneration(context, options, generate, routingKeyOf(generate));
    const response = request.stream
      ? encodedResponse(context, options, new TgiStream(request.frame), events)
      : Response.json(whole(tgiBody(await collectAnswer(events, 1, signal), request.frame)));
    return markFallback(response, events.fallbackModel ?? null);
  };
}
