/** From an admitted generation to the response in the format and style that were asked for. */
import type { Answer } from "../protocol/answer.ts";
import type { StreamEncoder } from "../protocol/answer-encoder.ts";
import type { AnswerFrame } from "../protocol/openai/chunk-stream.ts";
import type { AnswerStyle } from "../protocol/wire-request.ts";
import { collectAnswer } from "./collect-answer.ts";
import type { ApiContext, ApiOptions } from "./context.ts";
import { toApiError } from "./error-response.ts";
import type { EventStream } from "./model-service.ts";
import { streamResponse } from "./stream-response.ts";

/** A wire format's two ways to write an answer. */
export interface AnswerFormat {
  idPrefix: string;
  body(answer: Answer, frame: AnswerFrame): object;
  stream(frame: AnswerFrame): StreamEncoder;
}

/** @param extra more top-level fields for every chunk or the body */
export function answerFrame(
  { clock, randomId }: Pick<ApiOptions, "clock" | "randomId">,
  format: AnswerFormat,
  { includeUsage }: AnswerStyle,
  numChoices: number,
  extra?: Readonly<Record<string, string>>,
): AnswerFrame {
  return {
    id: `${format.idPrefix}-${randomId()}`,
    createdS: Math.floor(clock.nowMs() / 1000),
    numChoices,
    includeUsage,
    ...(extra && { extra }),
  };
}

/** The whole answer in one object. */
export async function bodyResponse(
  context: ApiContext,
  format: AnswerFormat,
  frame: AnswerFrame,
  events: EventStream,
): Promise<Response> {
  return Response.json(format.body(await collectAnswer(events, frame.numChoices, context.req.raw.signal), frame));
}

/** The answer as it comes. */
export function encodedResponse(
  context: ApiContext,
  { clock, log }: ApiOptions,
  encoder: StreamEncoder,
  events: EventStream,
): Response {
  const requestId = context.get("requestId");
  const route = context.get("route");
  return streamResponse(events, encoder, {
    clock,
    signal: context.req.raw.signal,
    describe: (cause) => toApiError(cause, requestId, route, log),
  });
}

/** Names the model that answers in the place of the one that was asked for. The answer's `model` says it, too. */
const FALLBACK_HEADER = "x-runnel-fallback";

export function markFallback(response: Response, fallbackModel: string | null): Response {
  if (fallbackModel !== null) response.headers.set(FALLBACK_HEADER, encodeURIComponent(fallbackModel));
  return response;
}
