/** POST /v1/chat/completions and /v1/completions: the same way through, in two formats. */
import { decodeChatRequest } from "../protocol/openai/chat-request.ts";
import { chatBody, chatStream } from "../protocol/openai/chat-response.ts";
import { decodeCompletionRequest } from "../protocol/openai/completion-request.ts";
import { completionBody, completionStream } from "../protocol/openai/completion-response.ts";
import type { WireRequest } from "../protocol/wire-request.ts";
import { type AnswerFormat, answerFrame, bodyResponse, encodedResponse, markFallback } from "./answer-response.ts";
import type { ApiHandler, ApiOptions } from "./context.ts";
import { readJsonBody } from "./json-body.ts";
import type { Route } from "./routes.ts";
import { routingKeyOf } from "./routing-key.ts";
import { startGeneration } from "./start-generation.ts";

export const CHAT_FORMAT: AnswerFormat = { idPrefix: "chatcmpl", body: chatBody, stream: chatStream };
const COMPLETION_FORMAT: AnswerFormat = { idPrefix: "cmpl", body: completionBody, stream: completionStream };

export function generationRoutes(options: ApiOptions): Route[] {
  return [
    { path: "/v1/chat/completions", methods: { POST: generate(options, decodeChatRequest, CHAT_FORMAT) } },
    { path: "/v1/completions", methods: { POST: generate(options, decodeCompletionRequest, COMPLETION_FORMAT) } },
  ];
}

/** Everything that can be refused is refused before the 200: by the decoder, or by the service when it admits. */
function generate(
  options: ApiOptions,
  decode: (body: unknown, requestId: string) => WireRequest,
  format: AnswerFormat,
): ApiHandler {
  return async (context) => {
    const request = decode(await readJsonBody(context.req.raw), context.get("requestId"));
    const events = await startGeneration(
      context,
      options,
      request.generate,
      routingKeyOf(request.generate, request.promptCacheKey),
    );
    const numChoices = request.generate.prompts.length * request.generate.n;
    const frame = answerFrame(options, format, request.style, numChoices);
    const response = request.style.stream
      ? encodedResponse(context, options, format.stream(frame), events)
      : await bodyResponse(context, format, frame, events);
    return markFallback(response, events.fallbackModel ?? null);
  };
}
