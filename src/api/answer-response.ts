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

export interface AnswerPlan {
  format: AnswerFormat;
  style: AnswerStyle;
  numChoices: number;
  extra?: Readonly<Record<string, string>>;
}

export async function answerResponse(
  context: ApiContext,
  { clock, randomId, log }: ApiOptions,
  { format, style, numChoices, extra }: AnswerPlan,
  events: EventStream,
): Promise<Response> {
  const frame: AnswerFrame = {
    id: `${format.idPrefix}-${randomId()}`,
    createdS: Math.floor(clock.nowMs() / 1000),
    numChoices,
    includeUsage: style.includeUsage,
    ...(extra && { extra }),
  };
  const { signal } = context.req.raw;
  if (!style.stream) return Response.json(format.body(await collectAnswer(events, numChoices, signal), frame));
  const requestId = context.get("requestId");
  const route = context.get("route");
  return streamResponse(events, format.stream(frame), {
    clock,
    signal,
    describe: (cause) => toApiError(cause, requestId, route, log),
  });
}
