/** POST /api/chat and /api/generate: Ollama's own API. Answers are streamed unless `stream` is false. */
import {
  chatFormat,
  generateFormat,
  NDJSON_HEADERS,
  ndjsonLine,
  type OllamaFormat,
  type OllamaFrame,
  OllamaStream,
  ollamaBody,
  ollamaIdleBody,
} from "../protocol/ollama/answer.ts";
import { decodeOllamaChat } from "../protocol/ollama/chat-request.ts";
import { decodeOllamaGenerate } from "../protocol/ollama/generate-request.ts";
import type { OllamaRequest } from "../protocol/ollama/request-fields.ts";
import { PLAIN_REQUEST } from "../protocol/plain-request.ts";
import { encodedResponse, markFallback } from "./answer-response.ts";
import { assertMayUse } from "./caller.ts";
import { collectAnswer } from "./collect-answer.ts";
import type { ApiContext, ApiHandler, ApiOptions } from "./context.ts";
import { readJsonBody } from "./json-body.ts";
import { knownModel } from "./known-model.ts";
import { PLAIN_NAMES } from "./model-names.ts";
import type { Route } from "./routes.ts";
import { routingKeyOf } from "./routing-key.ts";
import { startGeneration } from "./start-generation.ts";

export function ollamaRoutes(options: ApiOptions): Route[] {
  return [
    { path: "/api/chat", methods: { POST: answer(options, decodeOllamaChat, chatFormat) } },
    { path: "/api/generate", methods: { POST: answer(options, decodeOllamaGenerate, generateFormat) } },
  ];
}

function answer(
  options: ApiOptions,
  decode: (body: unknown, requestId: string) => OllamaRequest,
  format: OllamaFormat,
): ApiHandler {
  return async (context) => {
    const request = decode(await readJsonBody(context.req.raw), context.get("requestId"));
    const { generate } = request;
    if (generate === null) return idle(context, options, request, format);
    const { signal } = context.req.raw;
    const events = await startGeneration(context, options, generate, routingKeyOf(generate));
    const fallback = events.fallbackModel ?? null;
    const frame = frameOf(options, fallback ?? request.model);
    const response = request.stream
      ? encodedResponse(context, options, new OllamaStream(format, frame), events)
      : Response.json(ollamaBody(await collectAnswer(events, 1, signal), format, frame));
    return markFallback(response, fallback);
  };
}

/**
 * Without a prompt a model is only to be loaded: a token for nobody does that wherever it runs. A wish to unload it is
 * answered and not followed, because others may be using the model, and the host drops it when it needs the room.
 */
async function idle(
  context: ApiContext,
  options: ApiOptions,
  { model, stream, unloads }: OllamaRequest,
  format: OllamaFormat,
): Promise<Response> {
  const { models, names = PLAIN_NAMES } = options;
  assertMayUse(context.get("caller"), model);
  if (unloads) await names.run(model, models, (id) => knownModel(models, id));
  else await warm(context, options, model);
  const body = ollamaIdleBody(unloads, format, frameOf(options, model));
  return stream ? new Response(ndjsonLine(body), { headers: NDJSON_HEADERS }) : Response.json(body);
}

async function warm(context: ApiContext, options: ApiOptions, model: string): Promise<void> {
  const { signal } = context.req.raw;
  const requestId = context.get("requestId");
  const events = await startGeneration(context, options, { ...WARM_UP, requestId, model }, null);
  await collectAnswer(events, 1, signal);
}

const WARM_UP = { ...PLAIN_REQUEST, prompts: [{ kind: "text" as const, text: "Hi" }], maxTokens: 1 };

function frameOf({ clock }: ApiOptions, model: string): OllamaFrame {
  return { model, createdAt: new Date(clock.nowMs()).toISOString() };
}
